"""Conditions: what is true of an object now, why, and since when (Kubernetes' own convention)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from .base import Model, Timestamp


class ConditionStatus(StrEnum):
    """``Unknown`` means that the last look failed, not that the answer is no."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One observed fact about an object.

    Attributes:
        type: CamelCase, for example ``WorkspaceReady``.
        reason: CamelCase word for machines; never empty.
        message: a sentence for people, with the way out when the status is not the wished one.
        observed_generation: the ``generation`` this fact was computed for.
        last_transition_at: when ``status`` last changed (not reason or message).
    """

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_at: Timestamp


def find_condition(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """Return the condition of that type, or ``None``."""
    return next((condition for condition in conditions if condition.type == type_), None)


def set_condition(
    conditions: Sequence[Condition],
    type_: str,
    status: ConditionStatus,
    reason: str,
    message: str = "",
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions with one replaced or appended; the transition time survives an equal status."""
    before = find_condition(conditions, type_)
    since = before.last_transition_at if before is not None and before.status == status else now
    after = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_at=since,
    )
    if before is None:
        return (*conditions, after)
    return tuple(after if condition.type == type_ else condition for condition in conditions)
