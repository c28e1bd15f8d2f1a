"""Tables of plans: what stands in a row, and how it is checked.

``BASE`` is the healthy instance for which nothing is to be done; every row is that instance but for one thing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from controller.reconcile.actions import Plan
from controller.resources.observed import FailureRecord

from .looks import NOW, STARTED, Look, ago, workload

BASE = Look()

YOUNG = workload(started_at=ago(seconds=60))


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        actions: names of their types, in their order.
        blocked: the reason why nothing (more) is done.
        requeue_after: seconds after which time alone may change the decision.
    """

    look: Look
    actions: list[str]
    blocked: str | None = None
    requeue_after: float | None = None


def failed(count: int = 1, retry_in: float = -1.0) -> FailureRecord:
    """Return the record of so many failures in a row."""
    retry_at = NOW + timedelta(seconds=retry_in)
    return FailureRecord(count=count, last_at=STARTED, retry_at=retry_at, reason="Killed", message="it was killed")


def check(row: Row) -> Plan:
    """Plan, compare with the row, and return the plan."""
    decision = row.look.plan()
    assert [type(action).__name__ for action in decision.actions] == row.actions
    assert (decision.blocked.reason if decision.blocked else None) == row.blocked
    assert decision.requeue_after == row.requeue_after
    assert all(action.reason for action in decision.actions), "every action says why"
    assert decision.blocked is None or decision.blocked.message, "whoever is blocked is told why"
    return decision
