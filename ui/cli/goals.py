"""What can be waited for: pure questions to an object, and how long is long enough."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import typer

from controller.resources import (
    Condition,
    ConditionStatus,
    DisplayState,
    Instance,
    OperatingMode,
    Repository,
    display_state,
    find_condition,
)
from controller.resources.explain import CAUSES, cause
from controller.resources.instance import STOPPED_REASONS, TRANSITIONAL_REASONS

Thing = Instance | Repository

Word = TypeVar("Word", ConditionStatus, DisplayState)

_CONDITION_TYPES = ("Ready", *CAUSES, "Suspended")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


@dataclass(frozen=True, slots=True)
class Goal:
    """A question with a name.

    Attributes:
        words: completes "waiting until KIND/NAME ...".
        met: ``None`` stands for an object that is gone.
        of_instances: it can never be true of anything but an instance.
    """

    words: str
    met: Callable[[Thing | None], bool]
    of_instances: bool = False


DELETED = Goal("is gone", lambda thing: thing is None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wish ended: ``error`` is ``None`` when it came true."""

    error: str | None = None
    reason: str = ""


def parse_goal(text: str) -> Goal:
    """Return the goal that ``--for`` names: ``condition=TYPE[=STATUS]``, ``state=WORD`` or ``delete``."""
    what, _, rest = text.partition("=")
    match what:
        case "delete" if not rest:
            return DELETED
        case "condition" if rest:
            type_, _, word = rest.partition("=")
            if type_.lower() not in {known.lower() for known in _CONDITION_TYPES}:
                raise typer.BadParameter(
                    f"{type_!r} is not a condition; write one of {', '.join(_CONDITION_TYPES)}", param_hint="--for"
                )
            return condition_goal(type_, _choose(word or "True", ConditionStatus, "status"))
        case "state" if rest:
            return state_goal(_choose(rest, DisplayState, "state"))
    raise typer.BadParameter(
        f"{text!r} is not a goal; write condition=Ready, condition=Ready=False, state=IDLE or delete",
        param_hint="--for",
    )


def condition_goal(type_: str, status: ConditionStatus) -> Goal:
    """Return the goal that a condition has a status, computed for the newest spec."""

    def met(thing: Thing | None) -> bool:
        condition = _current(thing, type_)
        return condition is not None and condition.status is status

    return Goal(f"has {type_}={status}", met, of_instances=type_.lower() != "ready")


def state_goal(state: DisplayState) -> Goal:
    """Return the goal that an instance is in a display state, derived from its newest spec."""

    def met(thing: Thing | None) -> bool:
        if not isinstance(thing, Instance) or (state is not DisplayState.DELETING and _current(thing, "Ready") is None):
            return False
        return display_state(thing)[0] is state

    return Goal(f"is {state}", met, of_instances=True)


def outcome(instance: Instance) -> Outcome | None:
    """Return how the newest spec ended, or ``None`` while the controller is on its way.

    Running wants ``Ready``; Stopped and Suspended want that word. A restart counts once it was carried out.
    """
    if instance.metadata.deletion_requested_at is not None:
        return Outcome("it is being deleted", "Deleting")
    ready = _current(instance, "Ready")
    if ready is None or ready.status is ConditionStatus.UNKNOWN:
        return None
    mode = instance.spec.operating_mode
    if ready.status is ConditionStatus.TRUE:
        restarted = instance.status.restarted_generation >= instance.spec.restart_generation
        return Outcome() if mode is OperatingMode.RUNNING and restarted else None
    if ready.reason == mode:
        return Outcome()
    if ready.reason in TRANSITIONAL_REASONS or ready.reason in STOPPED_REASONS - {"Completed"}:
        return None
    why = cause(instance) or ready
    return Outcome(ready.message or why.message or f"{why.type} is {why.status}", ready.reason)


def repository_outcome(repository: Repository) -> Outcome | None:
    """Return whether instances can be made from the repository, or ``None`` while nobody knows."""
    ready = _current(repository, "Ready")
    if ready is None or ready.status is ConditionStatus.UNKNOWN or ready.reason == "Pending":
        return None
    if ready.status is ConditionStatus.TRUE:
        return Outcome()
    return Outcome(ready.message or ready.reason, ready.reason)


def parse_duration(text: str) -> float:
    """Return seconds for ``90``, ``90s``, ``5m``, ``1h30m``.

    Raises:
        BadParameter: the text is no duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise typer.BadParameter(f"{text!r} is not a duration; write for example 90s, 5m or 1h30m")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0)


def _current(thing: Thing | None, type_: str) -> Condition | None:
    """Return a condition if it was computed for the newest spec; types are compared without regard to case."""
    if thing is None:
        return None
    names = {condition.type.lower(): condition.type for condition in thing.status.conditions}
    condition = find_condition(thing.status.conditions, names.get(type_.lower(), type_))
    if condition is None or condition.observed_generation < thing.metadata.generation:
        return None
    return condition


def _choose(text: str, words: type[Word], what: str) -> Word:
    for word in words:
        if word.lower() == text.lower():
            return word
    raise typer.BadParameter(f"{text!r} is not a {what}; write one of {', '.join(words)}", param_hint="--for")
