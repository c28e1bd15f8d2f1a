"""The steps from a declared instance to a ready one, derived from its conditions; what ``spawn`` shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from controller.resources import Condition, ConditionStatus, Instance, find_condition

from .goals import outcome


class StepState(StrEnum):
    """Where a step is."""

    WAITING = "waiting"
    ACTIVE = "active"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        detail: what was made, what is being done or what went wrong; may be empty.
    """

    name: str
    state: StepState
    detail: str = ""


_CONDITIONS = {
    "workspace": "WorkspaceReady",
    "container": "WorkloadRunning",
    "session": "SessionReady",
    "ready": "Ready",
}


def steps(instance: Instance, now: datetime) -> list[Step]:
    """Return the four steps; at most one is active, and everything behind it waits."""
    end = outcome(instance)
    failed = end is not None and end.error is not None
    result: list[Step] = []
    open_step = False
    for name, type_ in _CONDITIONS.items():
        condition = find_condition(instance.status.conditions, type_)
        current = condition is not None and condition.observed_generation >= instance.metadata.generation
        if open_step:
            result.append(Step(name, StepState.WAITING))
        elif current and condition is not None and condition.status is ConditionStatus.TRUE:
            result.append(Step(name, StepState.DONE, _made(instance, name)))
        elif failed and end is not None:
            open_step = True
            result.append(Step(name, StepState.FAILED, f"{end.reason}: {end.error}"))
        else:
            open_step = True
            result.append(Step(name, StepState.ACTIVE, _doing(instance, condition if current else None, now)))
    return result


def _made(instance: Instance, name: str) -> str:
    status = instance.status
    match name:
        case "workspace" if status.workspace is not None:
            return f"{status.workspace.path} on branch {status.workspace.branch}"
        case "container" if status.workload is not None:
            return status.workload.name
        case "session" if status.session is not None:
            return status.session.tmux_session or "Claude Code is running"
        case "ready" if status.session is not None:
            return f"Claude is {status.session.state}"
        case _:
            return ""


def _doing(instance: Instance, condition: Condition | None, now: datetime) -> str:
    failures = instance.status.failures
    if failures.count and failures.retry_at is not None and failures.retry_at > now:
        told = failures.message or failures.reason
        return f"failed {failures.count}x: {told}, next start at {failures.retry_at:%H:%M:%S} UTC"
    doing = "waiting for the controller" if condition is None else condition.message or condition.reason
    return f"{doing} (failed {failures.count}x before)" if failures.count else doing
