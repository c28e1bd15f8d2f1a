"""What is reported about an instance: from one look, the plan and what went wrong to conditions. Pure.

The reasons used here and in ``plan`` are listed in ``docs/reference/conditions.md``; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from controller.agents import Heard
from controller.errors import CcoError, Unavailable
from controller.resources import (
    Condition,
    ConditionStatus,
    Instance,
    OperatingMode,
    SessionState,
    Transition,
    find_condition,
    set_condition,
)
from controller.resources.instance import STOPPED_REASONS, TRANSITIONAL_REASONS
from controller.runtime.protocol import Workload, WorkloadState
from controller.workspace.types import Presence

from .actions import (
    Blocked,
    CollectCommits,
    DeliverInput,
    EnsureWorkspace,
    Plan,
    ResolveInput,
    SnapshotWork,
    UpdateLimits,
)
from .deadlines import follow, is_late, late_message
from .holding import HOLDS
from .observed import Observed, Pace

_BESIDE = (CollectCommits, DeliverInput, ResolveInput, UpdateLimits)

_NO_FAILURES = TRANSITIONAL_REASONS | STOPPED_REASONS | HOLDS | {"DeadlineExceeded"}

_ALTHOUGH_UP = frozenset({"Draining", "StartQueued"})
"""What holds up a restart leaves a session that is up at work."""

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class Fact:
    """A condition before it gets its time and generation."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Mishap:
    """What went wrong in a pass, and at which action (``None``: at the look)."""

    error: CcoError
    action: object | None


def compute_conditions(
    instance: Instance, observed: Observed | None, plan: Plan, mishap: Mishap | None, pace: Pace, *, now: datetime
) -> tuple[tuple[Condition, ...], Transition | None]:
    """Return all conditions of an instance, and the step it is at if it is on the way.

    Args:
        instance: as it was when the pass began.
        observed: the newest look; ``None`` when looking failed, which changes nothing but ``Unknown``.
        plan: what is still to be done after this pass.
        mishap: what stopped the pass.
        pace: deadlines.
        now: the time of the look.
    """
    step = instance.status.transition
    if observed is None:
        facts = _unknown(mishap)
    else:
        parts = (
            _workspace(observed, plan, mishap),
            _workload(observed),
            _session(observed),
            _agent(observed, pace),
            _suspended(instance, observed),
        )
        ready = _ready(instance, plan, mishap, parts)
        step = follow(step, ready.reason, now)
        facts = (*parts, _in_time(ready, step, instance.metadata.name, now))
    conditions = instance.status.conditions
    generation = instance.metadata.generation
    for fact in facts:
        conditions = set_condition(
            conditions, fact.type, fact.status, fact.reason, fact.message, generation=generation, now=now
        )
    return conditions, step


def _in_time(ready: Fact, step: Transition | None, name: str, now: datetime) -> Fact:
    """Return the sum, or that it takes too long; what is up stays up."""
    if step is None or not is_late(step, now):
        return ready
    return Fact("Ready", ready.status, "DeadlineExceeded", late_message(step, ready.message, name))


def _unknown(mishap: Mishap | None) -> tuple[Fact, ...]:
    """A failed look says nothing about the world except that it failed."""
    reason = mishap.error.reason if mishap else "LookFailed"
    message = mishap.error.message if mishap else ""
    return (Fact("Ready", UNKNOWN, reason, message),)


def _workspace(observed: Observed, plan: Plan, mishap: Mishap | None) -> Fact:
    workspace = observed.workspace
    if mishap is not None and isinstance(mishap.action, EnsureWorkspace):
        return Fact("WorkspaceReady", FALSE, mishap.error.reason, mishap.error.message)
    if workspace is None:
        blocked = plan.blocked
        return Fact("WorkspaceReady", UNKNOWN, blocked.reason if blocked else "NotLookedAt")
    if workspace.presence is Presence.READY:
        if workspace.branch_deleted:
            return Fact("WorkspaceReady", TRUE, "BranchDeleted", workspace.detail)
        if workspace.diverged:
            message = (
                "somebody committed to the branch while Claude did; both lines are kept, Claude's under "
                "refs/cco/instances: merge it into the branch, or reset the branch to it"
            )
            return Fact("WorkspaceReady", TRUE, "Diverged", message)
        return Fact("WorkspaceReady", TRUE, "Ready", workspace.detail)
    reasons = {Presence.ABSENT: "Absent", Presence.BROKEN: "NeedsRepair", Presence.FOREIGN: "PathOccupied"}
    return Fact("WorkspaceReady", FALSE, reasons[workspace.presence], workspace.detail)


def _workload(observed: Observed) -> Fact:
    if not observed.workloads:
        return Fact("WorkloadRunning", FALSE, "Absent", "there is no workload")
    workload = observed.workloads[0]
    words = {
        WorkloadState.RUNNING: (TRUE, "Running"),
        WorkloadState.CREATED: (FALSE, "Created"),
        WorkloadState.PAUSED: (FALSE, "Paused"),
        WorkloadState.EXITED: (FALSE, "Exited"),
        WorkloadState.LOST: (UNKNOWN, "Lost"),
    }
    status, reason = words[workload.state]
    told = workload.name if workload.notice is None else f"{workload.name}; {workload.notice}"
    return Fact("WorkloadRunning", status, reason, told)


def running(observed: Observed) -> Workload | None:
    """Return the workload if exactly one exists and it runs."""
    if len(observed.workloads) == 1 and observed.workloads[0].state is WorkloadState.RUNNING:
        return observed.workloads[0]
    return None


def _session(observed: Observed) -> Fact:
    if running(observed) is None:
        return Fact("SessionReady", FALSE, "NotRunning")
    if observed.heard is None:
        return Fact("SessionReady", FALSE, "StartingSession", "waiting for the agent's first report")
    session = observed.heard.report.session
    if session.state is SessionState.STARTING:
        return Fact("SessionReady", FALSE, "StartingSession", session.detail or "Claude Code is starting")
    if session.state is SessionState.EXITED:
        return Fact("SessionReady", FALSE, "SessionExited", session.detail or "Claude Code has ended")
    return Fact("SessionReady", TRUE, "SessionUp")


def _agent(observed: Observed, pace: Pace) -> Fact:
    heard = observed.heard
    if running(observed) is None or heard is None:
        return Fact("AgentHealthy", FALSE, "NotRunning" if running(observed) is None else "NoReportYet")
    if is_silent(heard, pace):
        message = f"no report for more than {pace.silent_after:.0f} s"
        return Fact("AgentHealthy", FALSE, "NoSignal", message)
    return Fact("AgentHealthy", TRUE, "Reporting")


def is_silent(heard: Heard, pace: Pace) -> bool:
    """Tell whether an agent missed so many heartbeats that its last report is no longer believed."""
    return heard.age >= pace.silent_after


def _suspended(instance: Instance, observed: Observed) -> Fact:
    alive = any(workload.state.alive for workload in observed.workloads)
    if instance.spec.operating_mode is not OperatingMode.RUNNING:
        if alive:
            return Fact("Suspended", FALSE, "Stopping")
        return Fact("Suspended", TRUE, str(instance.spec.operating_mode), "HOME, branch and worktree are kept")
    was = next((c for c in instance.status.conditions if c.type == "Suspended" and c.status is TRUE), None)
    if was is not None and not alive:
        return Fact("Suspended", TRUE, "Resuming")
    return Fact("Suspended", FALSE, "Running")


def _ready(instance: Instance, plan: Plan, mishap: Mishap | None, parts: tuple[Fact, ...]) -> Fact:
    """The sum: what a person should know first."""
    workspace, workload, session, agent, suspended = parts
    if mishap is not None and not is_beside(instance, mishap.action):
        message = mishap.error.message + _way_out_of_saving(instance, mishap.action)
        if isinstance(mishap.error, Unavailable):
            return Fact("Ready", UNKNOWN, mishap.error.reason, message)
        return _held_back(instance, Blocked(mishap.error.reason, message))
    if plan.blocked is not None and not (plan.blocked.reason in _ALTHOUGH_UP and workload.status is TRUE):
        if plan.blocked.unknown:
            return Fact("Ready", UNKNOWN, plan.blocked.reason, plan.blocked.message)
        return _held_back(instance, plan.blocked)
    if instance.metadata.deletion_requested_at is not None:
        return Fact("Ready", FALSE, "Deleting")
    if instance.spec.operating_mode is not OperatingMode.RUNNING:
        return Fact("Ready", FALSE, suspended.reason, suspended.message)
    order = (
        (workspace, "CreatingWorkspace"),
        (workload, "StartingWorkload"),
        (session, session.reason),
        (agent, agent.reason),
    )
    for part, reason in order:
        if part.status is not TRUE:
            return Fact("Ready", FALSE, reason, part.message)
    return _ready_although(plan, mishap, workspace)


def is_beside(instance: Instance, action: object) -> bool:
    """Tell whether the failure of an act leaves Claude at work.

    Then the others of the pass are done all the same, and it is told as the reason of a ``Ready`` that stays true.
    Nothing is like that for one that rests or is being deleted.
    """
    goes_on = instance.metadata.deletion_requested_at is None and instance.spec.operating_mode is OperatingMode.RUNNING
    return goes_on and isinstance(action, _BESIDE)


def _way_out_of_saving(instance: Instance, action: object) -> str:
    """Return the last way out for a deletion that cannot save what is there."""
    meta = instance.metadata
    if meta.deletion_requested_at is None or meta.discard_work or not isinstance(action, CollectCommits | SnapshotWork):
        return ""
    return f"; nothing is deleted until then, or give it up: 'cco delete instance {meta.name} --discard-work'"


def _held_back(instance: Instance, blocked: Blocked) -> Fact:
    """Say what holds the instance back: the last failure of the same spec, where it only waits for its next turn."""
    before = find_condition(instance.status.conditions, "Ready")
    if (
        blocked.reason == "StartQueued"
        and before is not None
        and before.status is FALSE
        and before.observed_generation == instance.metadata.generation
        and before.reason not in _NO_FAILURES
        and not _is_of_the_repository(instance, before)
    ):
        return Fact("Ready", FALSE, before.reason, before.message)
    return Fact("Ready", FALSE, blocked.reason, blocked.message)


def _is_of_the_repository(instance: Instance, ready: Condition) -> bool:
    """Tell whether it was the repository that held the instance back, so that its worktree was not looked at."""
    workspace = find_condition(instance.status.conditions, "WorkspaceReady")
    return workspace is not None and workspace.status is UNKNOWN and workspace.reason == ready.reason


def _ready_although(plan: Plan, mishap: Mishap | None, workspace: Fact) -> Fact:
    """Everything is up; name what a person may want to know all the same."""
    if mishap is not None:
        return Fact("Ready", TRUE, mishap.error.reason, mishap.error.message)
    if workspace.reason in {"Diverged", "BranchDeleted"}:
        return Fact("Ready", TRUE, workspace.reason, workspace.message)
    if plan.blocked is not None:
        return Fact("Ready", TRUE, plan.blocked.reason, plan.blocked.message)
    return Fact("Ready", TRUE, "Ready")
