"""The brake of the fleet: when many instances fail in the same way, no more are started until one of them succeeds.

A login that expired or a model that is away makes every start fail; each would be counted against its instance until
all have given up. What is kept here is a summary of the statuses that passes have written; a new process has it again
after its first passes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.resources import ConditionStatus, Instance, InstanceStatus, OperatingMode, find_condition

from .exits import MAX_FAILURES

BRAKE_AFTER = 3
"""So many equal failures, and more of them than instances that are well."""

COUNTED_FROM = 2
"""A first failure is tried again at once and tells nothing of starts: after a power cut, everybody has one."""

PROBE_AFTER = timedelta(seconds=60)
"""So long after the last failure one instance is tried, and one more each time as much has passed again."""

WINDOW = timedelta(minutes=15)
"""Failures that are older say nothing about now."""


@dataclass(frozen=True, slots=True)
class Brake:
    """Why an instance is held.

    Attributes:
        seconds: until it may be looked at again.
    """

    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    message: str
    at: datetime
    rests: bool
    """Nobody starts it before a person asks for that, so it is no probe."""


class FleetBrake:
    """Thread-safe; :meth:`saw` is told of every status, :meth:`holds` is asked before every start."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._failing: dict[str, _Failure] = {}
        self._well: dict[str, datetime] = {}

    def saw(self, instance: Instance, status: InstanceStatus) -> None:
        """Remember how an instance is."""
        leaves = instance.metadata.deletion_requested_at is not None
        ready = find_condition(status.conditions, "Ready")
        record = status.failures
        with self._guard:
            self._drop(instance.metadata.name)
            if leaves or instance.spec.operating_mode is not OperatingMode.RUNNING:
                return
            if ready is not None and ready.status is ConditionStatus.TRUE:
                self._well[instance.metadata.name] = ready.last_transition_at
            elif record.count >= COUNTED_FROM and record.last_at is not None:
                rests = record.count >= MAX_FAILURES or status.parked is not None
                failure = _Failure(record.reason, record.message, record.last_at, rests)
                self._failing[instance.metadata.name] = failure

    def forget(self, name: str) -> None:
        """Drop what is known of an instance."""
        with self._guard:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._failing.pop(name, None)
        self._well.pop(name, None)

    def holds(self, name: str, now: datetime) -> Brake | None:
        """Return the brake if it holds this instance now."""
        with self._guard:
            if len(self._failing) < BRAKE_AFTER:
                return None
            failing, well = _most_equal(self._failing, now), list(self._well.values())
        if len(failing) < BRAKE_AFTER or len(failing) <= len(well):
            return None
        newest = max(failure.at for failure in failing.values())
        if any(since > newest for since in well):
            return None
        seconds = (newest + PROBE_AFTER - now).total_seconds()
        # The longest waiting first; where a turn passes unused, for whatever reason, the next one may try as well.
        able = [each for _, each in sorted((failing[each].at, each) for each in failing if not failing[each].rests)]
        turns = 1 + int(max(-seconds, 0.0) // PROBE_AFTER.total_seconds())
        if seconds <= 0 and (turns > len(able) or name in able[:turns]):
            return None
        tried = f"{able[:turns][-1]} is tried next; " if able else ""
        last = max(failing.values(), key=lambda failure: failure.at)
        message = (
            f"{len(failing)} instances failed in the same way ({last.reason}: {last.message}); no more are started "
            f"until one of them succeeds; {tried}'cco retry {name}' tries this one now"
        )
        return Brake(message, max(seconds, 5.0))


def _most_equal(failing: dict[str, _Failure], now: datetime) -> dict[str, _Failure]:
    """Return the largest group of recent failures with one reason, by name."""
    groups: dict[str, dict[str, _Failure]] = {}
    for name, failure in failing.items():
        if -PROBE_AFTER <= now - failure.at <= WINDOW:  # later than now: the clock was set back since
            groups.setdefault(failure.reason, {})[name] = failure
    return max(groups.values(), key=len, default={})
