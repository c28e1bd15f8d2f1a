"""Which columns the tables of each kind have, and how a state is coloured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from controller.resources import (
    Condition,
    ConditionStatus,
    DisplayState,
    Event,
    EventType,
    Instance,
    Repository,
    display_state,
    find_condition,
)

from .humanize import age, percent, quantity
from .table import Cell, Column

Row = list[Cell | str]

STATE_STYLES: dict[DisplayState, str] = {
    DisplayState.STARTING: "moving",
    DisplayState.RUNNING: "good",
    DisplayState.WAITING: "notice",
    DisplayState.IDLE: "calm",
    DisplayState.ERROR: "bad",
    DisplayState.STOPPED: "dim",
    DisplayState.DELETING: "moving",
    DisplayState.UNKNOWN: "notice",
}
_TRUTH_STYLES = {ConditionStatus.TRUE: "good", ConditionStatus.FALSE: "bad", ConditionStatus.UNKNOWN: "notice"}

INSTANCE_COLUMNS = (
    Column("NAME"),
    Column("REPOSITORY", shrinks=True),
    Column("BRANCH", shrinks=True),
    Column("STATE"),
    Column("REASON", shrinks=True),
    Column("CPU", right=True),
    Column("MEMORY", right=True),
    Column("AGE", right=True),
)
INSTANCE_WIDE_COLUMNS = (
    *INSTANCE_COLUMNS,
    Column("CONTAINER", shrinks=True),
    Column("ATTEMPT", right=True),
    Column("SESSION"),
    Column("TOOL", shrinks=True),
    Column("IMAGE", shrinks=True),
)
REPOSITORY_COLUMNS = (
    Column("NAME"),
    Column("PATH", shrinks=True),
    Column("BASE BRANCH", shrinks=True),
    Column("READY"),
    Column("REASON", shrinks=True),
    Column("AGE", right=True),
)
REPOSITORY_WIDE_COLUMNS = (*REPOSITORY_COLUMNS, Column("HEAD"), Column("OWNER"), Column("WARNINGS", wraps=True))
EVENT_COLUMNS = (
    Column("AGE", right=True),
    Column("TYPE"),
    Column("REASON"),
    Column("OBJECT", shrinks=True),
    Column("MESSAGE", wraps=True),
)
CONDITION_COLUMNS = (
    Column("TYPE"),
    Column("STATUS"),
    Column("REASON"),
    Column("AGE", right=True),
    Column("MESSAGE", wraps=True),
)


def state_cell(instance: Instance) -> Cell:
    """Return the coloured display word."""
    state, _ = display_state(instance)
    return Cell(state, STATE_STYLES[state])


def instance_row(instance: Instance, now: datetime) -> Row:
    """Return the usual columns of one instance."""
    _, reason = display_state(instance)
    usage = instance.status.usage
    return [
        instance.metadata.name,
        instance.spec.repository,
        instance.branch,
        state_cell(instance),
        reason,
        percent(usage.cpu_percent) if usage is not None else Cell("-", "dim"),
        quantity(usage.memory_bytes) if usage is not None else Cell("-", "dim"),
        age(instance.metadata.created_at, now),
    ]


def instance_wide_row(instance: Instance, now: datetime) -> Row:
    """Return the usual columns and those that matter when something is looked for."""
    status = instance.status
    return [
        *instance_row(instance, now),
        status.workload.name if status.workload is not None else "-",
        str(status.attempt),
        status.session.state if status.session is not None else "-",
        (status.session.tool or "-") if status.session is not None else "-",
        instance.spec.image or "(default)",
    ]


def repository_row(repository: Repository, now: datetime) -> Row:
    """Return the usual columns of one repository."""
    ready = find_condition(repository.status.conditions, "Ready")
    return [
        repository.metadata.name,
        repository.spec.path,
        repository.spec.base_branch or repository.status.default_branch or "-",
        truth_cell(ready),
        ready.reason if ready is not None else "Pending",
        age(repository.metadata.created_at, now),
    ]


def repository_wide_row(repository: Repository, now: datetime) -> Row:
    """Return the usual columns, HEAD, owner and warnings."""
    status = repository.status
    owner = f"{status.owner_uid}:{status.owner_gid}" if status.owner_uid is not None else "-"
    return [*repository_row(repository, now), (status.head or "-")[:10], owner, "; ".join(status.warnings) or "-"]


def event_row(event: Event, now: datetime) -> Row:
    """Return one event; a repeated one says how often."""
    often = f" (x{event.count})" if event.count > 1 else ""
    return [
        age(event.last_at, now),
        Cell(event.type, "notice" if event.type is EventType.WARNING else "dim"),
        event.reason,
        f"{event.kind.lower()}/{event.name}",
        event.message + often,
    ]


def condition_row(condition: Condition, now: datetime) -> Row:
    """Return one condition."""
    return [
        condition.type,
        truth_cell(condition),
        condition.reason,
        age(condition.last_transition_at, now),
        condition.message,
    ]


def truth_cell(condition: Condition | None) -> Cell:
    """Return a condition's status, ``Unknown`` when nobody has looked yet; being suspended is neither good nor bad."""
    if condition is not None and condition.type == "Suspended":
        return Cell(condition.status, "dim")
    status = condition.status if condition is not None else ConditionStatus.UNKNOWN
    return Cell(status, _TRUTH_STYLES[status])


def instance_table(*, wide: bool) -> tuple[Sequence[Column], Callable[[Instance, datetime], Row]]:
    """Return columns and row function of the instance table."""
    return (INSTANCE_WIDE_COLUMNS, instance_wide_row) if wide else (INSTANCE_COLUMNS, instance_row)


def repository_table(*, wide: bool) -> tuple[Sequence[Column], Callable[[Repository, datetime], Row]]:
    """Return columns and row function of the repository table."""
    return (REPOSITORY_WIDE_COLUMNS, repository_wide_row) if wide else (REPOSITORY_COLUMNS, repository_row)
