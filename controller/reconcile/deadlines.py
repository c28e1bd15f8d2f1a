"""How long each step on the way may take before a person is told that it takes too long. Pure.

Being late changes nothing that is done: the step is still tried. It ends the silence: ``Ready`` gets the reason
``DeadlineExceeded``, which is an error people see, with the step and its own message inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from controller.resources import Transition

DEADLINES: Mapping[str, timedelta] = MappingProxyType(
    {
        "Pending": timedelta(minutes=1),
        "WaitingForRepository": timedelta(minutes=2),
        "CreatingWorkspace": timedelta(minutes=20),  # the files of a large repository
        "StartingWorkload": timedelta(minutes=3),
        "StartingSession": timedelta(minutes=5),  # after 3 it was restarted once
        "BackingOff": timedelta(minutes=6),  # longer than the longest delay
        "StartQueued": timedelta(minutes=15),
        "FleetBrake": timedelta(hours=1),
        "Stopping": timedelta(minutes=2),
        "Deleting": timedelta(minutes=20),
        "Draining": timedelta(minutes=30),
    }
)
"""By reason. A test compares the keys with the reasons that count as "on the way"."""


def follow(before: Transition | None, reason: str, now: datetime) -> Transition | None:
    """Return the step an instance is at and since when, ``None`` when it is not on the way anywhere."""
    if reason not in DEADLINES:
        return None
    if before is None or before.reason != reason or before.since > now:  # the last: the clock was set back
        return Transition(reason=reason, since=now)
    return before


def time_left(step: Transition, now: datetime) -> float:
    """Return the seconds until the step is late; 0 or less when it is."""
    return (step.since + DEADLINES[step.reason] - now).total_seconds()


def is_late(step: Transition, now: datetime) -> bool:
    """Tell whether the step takes longer than it should."""
    return time_left(step, now) <= 0


def late_message(step: Transition, message: str, name: str) -> str:
    """Return what a person is told."""
    minutes = DEADLINES[step.reason].total_seconds() / 60
    if step.reason == "Draining":
        return f"the change has waited {minutes:.0f} min for Claude's turn to end; 'cco restart {name}' makes it now"
    told = f": {message}" if message else ""
    return (
        f"{step.reason} takes longer than {minutes:.0f} min{told}; it is still tried. "
        f"'cco events --for instance/{name}' shows what happens, 'cco doctor' looks for the cause"
    )
