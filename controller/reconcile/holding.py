"""What holds a start back: no credentials, no space, a record of failures, a fleet that fails, a queue. Pure.

``plan`` comes here before every start. The order is that of what a person has to know first.
"""

from __future__ import annotations

from datetime import datetime

from controller.resources import Instance

from .actions import Blocked, Plan
from .exits import LONGEST_DELAY, MAX_FAILURES
from .observed import Observed

QUEUE_SECONDS = 10.0
"""Whoever waits for a turn is woken for it; this is for a hint that got lost."""

HOLDS = frozenset({"CredentialsMissing", "DiskPressure"})
"""Reasons of what keeps a start back and is no failure of the instance."""

LOOK_AGAIN = 10.0
"""Seconds between two looks at what changes without a hint."""


def held_back(instance: Instance, observed: Observed, now: datetime) -> Plan | None:
    """Return why the instance must not be started now, ``None`` when it may be."""
    if not observed.credentials:
        message = (
            "Claude Code has nothing to log in with: set ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN or "
            "ANTHROPIC_AUTH_TOKEN for the controller ('make up' passes it on)"
        )
        return Plan(blocked=Blocked("CredentialsMissing", message), requeue_after=LOOK_AGAIN)
    if observed.disk.full is not None:
        return Plan(blocked=Blocked("DiskPressure", observed.disk.full), requeue_after=LOOK_AGAIN)
    if not start_requested(instance):
        held = _by_its_failures(instance, now) or _by_the_fleet(observed)
        if held is not None:
            return held
    if observed.queue is not None:
        return Plan(blocked=Blocked("StartQueued", observed.queue), requeue_after=QUEUE_SECONDS)
    return None


def start_requested(instance: Instance) -> bool:
    """Tell whether a person has asked for a start that was not tried yet."""
    spec, status = instance.spec, instance.status
    return spec.restart_generation > status.restarted_generation or spec.retry_generation > status.retried_generation


def _by_its_failures(instance: Instance, now: datetime) -> Plan | None:
    failures, name = instance.status.failures, instance.metadata.name
    if failures.count >= MAX_FAILURES:
        message = (
            f"gave up after {failures.count} failures in a row, the last: {failures.message}; "
            f"look at 'cco logs {name}', then 'cco retry {name}'"
        )
        return Plan(blocked=Blocked("CrashLoop", message))
    seconds = (failures.retry_at - now).total_seconds() if failures.retry_at is not None else 0.0
    if 0 < seconds <= LONGEST_DELAY:  # longer than any delay: the clock was set back, and the wait is over
        message = f"{failures.message}; failure {failures.count} of {MAX_FAILURES} in a row, next start is paced"
        return Plan(blocked=Blocked("BackingOff", message), requeue_after=seconds)
    return None


def _by_the_fleet(observed: Observed) -> Plan | None:
    brake = observed.brake
    if brake is None:
        return None
    return Plan(blocked=Blocked("FleetBrake", brake.message), requeue_after=max(brake.seconds, 1.0))
