"""What is reported, as a table: the healthy instance, and every row says which of its conditions are different."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import pytest

from controller.errors import CcoError, Terminal, Unavailable
from controller.reconcile.actions import Blocked, EnsureWorkspace, Plan, StopWorkload
from controller.reconcile.conditions import Mishap, compute_conditions, is_silent
from controller.resources import Condition, ConditionStatus, find_condition, set_condition
from controller.runtime.protocol import WorkloadState
from controller.workspace.types import Presence
from support.looks import (
    NOW,
    PACE,
    STARTED,
    Look,
    exited,
    healthy_status,
    heard,
    instance,
    repository,
    workload,
    workspace,
)

BASE = Look()
HEALTHY = {
    "WorkspaceReady": "True Ready",
    "WorkloadRunning": "True Running",
    "SessionReady": "True SessionUp",
    "AgentHealthy": "True Reporting",
    "Suspended": "False Running",
    "Ready": "True Ready",
}
NO_CONTAINER = {
    "WorkloadRunning": "False Absent",
    "SessionReady": "False NotRunning",
    "AgentHealthy": "False NotRunning",
}
NO_PROCESS = {"SessionReady": "False NotRunning", "AgentHealthy": "False NotRunning"}
WAS_SUSPENDED = set_condition((), "Suspended", ConditionStatus.TRUE, "Suspended", generation=2, now=STARTED)
WAS_READY = set_condition((), "Ready", ConditionStatus.TRUE, "Ready", generation=2, now=STARTED)


class Row(NamedTuple):
    """A look, what differs from the healthy instance's conditions, and words of the message of ``Ready``."""

    look: Look
    differs: dict[str, str]
    words: str = ""
    mishap: Mishap | None = None


def mishap(error: CcoError, action: object = None) -> Mishap:
    return Mishap(error, action)


def conditions(look: Look, wrong: Mishap | None = None, plan: Plan | None = None) -> tuple[Condition, ...]:
    decision = plan if plan is not None else look.plan()
    return compute_conditions(look.instance, look.observed, decision, wrong, PACE, now=NOW)[0]


def told(found: tuple[Condition, ...]) -> dict[str, str]:
    return {condition.type: f"{condition.status} {condition.reason}" for condition in found}


TABLE: dict[str, Row] = {
    "is idle": Row(BASE, {}),
    "works": Row(BASE.but(heard=heard("working")), {}),
    "waits for somebody": Row(BASE.but(heard=heard("waiting")), {}),
    "has no worktree yet": Row(
        BASE.but(workspace=workspace(Presence.ABSENT), workloads=(), heard=None),
        {"WorkspaceReady": "False Absent", **NO_CONTAINER, "Ready": "False CreatingWorkspace"},
    ),
    "has half a worktree": Row(
        BASE.but(workspace=workspace(Presence.BROKEN, detail="its folder is gone"), workloads=(), heard=None),
        {"WorkspaceReady": "False NeedsRepair", **NO_CONTAINER, "Ready": "False CreatingWorkspace"},
        "its folder is gone",
    ),
    "has somebody else's worktree": Row(
        BASE.but(workspace=workspace(Presence.FOREIGN, detail="not made by us"), workloads=(), heard=None),
        {"WorkspaceReady": "False PathOccupied", **NO_CONTAINER, "Ready": "False PathOccupied"},
        "not made by us",
    ),
    "has diverged: ready, and told": Row(
        BASE.but(workspace=workspace(diverged=True)),
        {"WorkspaceReady": "True Diverged", "Ready": "True Diverged"},
        "refs/cco/instances",
    ),
    "has lost its branch while Claude works: told": Row(
        BASE.but(workspace=workspace(branch_deleted=True, detail="bring it back with 'git branch web c1'")),
        {"WorkspaceReady": "True BranchDeleted", "Ready": "True BranchDeleted"},
        "git branch web c1",
    ),
    "has a repository that is not registered": Row(
        BASE.but(repository=None, workspace=None),
        {"WorkspaceReady": "Unknown RepositoryNotFound", "Ready": "False RepositoryNotFound"},
        "cco init",
    ),
    "has a repository nobody has looked at": Row(
        BASE.but(repository=repository(None), workspace=None, workloads=(), heard=None),
        {"WorkspaceReady": "Unknown WaitingForRepository", **NO_CONTAINER, "Ready": "False WaitingForRepository"},
    ),
    "has no container": Row(
        BASE.but(workloads=(), heard=None),
        {**NO_CONTAINER, "Ready": "False StartingWorkload"},
        "no workload",
    ),
    "has a container that was never started": Row(
        BASE.but(workloads=(workload(WorkloadState.CREATED),), heard=None),
        {"WorkloadRunning": "False Created", **NO_PROCESS, "Ready": "False StartingWorkload"},
        "cco-web-1",
    ),
    "has a paused container": Row(
        BASE.but(workloads=(workload(WorkloadState.PAUSED),), heard=None),
        {"WorkloadRunning": "False Paused", **NO_PROCESS, "Ready": "False StartingWorkload"},
    ),
    "has ended": Row(
        BASE.but(workloads=(exited(),), heard=None),
        {"WorkloadRunning": "False Exited", **NO_PROCESS, "Ready": "False StartingWorkload"},
    ),
    "has a container on a silent machine": Row(
        BASE.but(workloads=(workload(WorkloadState.LOST),)),
        {"WorkloadRunning": "Unknown Lost", **NO_PROCESS, "Ready": "False WorkloadLost"},
    ),
    "has two containers": Row(
        BASE.but(workloads=(workload(attempt=2), workload())),
        {**NO_PROCESS, "Ready": "False AmbiguousWorkload"},
    ),
    "has not reported yet": Row(
        BASE.but(heard=None, listening_for=0.0),
        {
            "SessionReady": "False StartingSession",
            "AgentHealthy": "False NoReportYet",
            "Ready": "False StartingSession",
        },
        "first report",
    ),
    "is starting": Row(
        BASE.but(heard=heard("starting", session={"detail": "waiting for credentials", "since": NOW})),
        {"SessionReady": "False StartingSession", "Ready": "False StartingSession"},
        "waiting for credentials",
    ),
    "is starting and does not say more": Row(
        BASE.but(heard=heard("starting", session={"since": NOW})),
        {"SessionReady": "False StartingSession", "Ready": "False StartingSession"},
        "Claude Code is starting",
    ),
    "has a session that ended in a living container": Row(
        BASE.but(heard=heard("exited", session={"detail": "status 1"})),
        {"SessionReady": "False SessionExited", "Ready": "False SessionExited"},
        "status 1",
    ),
    "has a session that ended without a word": Row(
        BASE.but(heard=heard("exited")),
        {"SessionReady": "False SessionExited", "Ready": "False SessionExited"},
        "has ended",
    ),
    "is silent": Row(
        BASE.but(heard=heard(age=PACE.silent_after)),
        {"AgentHealthy": "False NoSignal", "Ready": "False NoSignal"},
        "20 s",
    ),
    "drains: ready until the turn ends": Row(
        BASE.but(instance=instance(model="opus"), heard=heard("working")),
        {"Ready": "True Draining"},
        "turn ends",
    ),
    "drains and is silent: that comes first": Row(
        BASE.but(instance=instance(model="opus"), heard=heard("working", age=PACE.silent_after)),
        {"AgentHealthy": "False NoSignal", "Ready": "False NoSignal"},
    ),
    "has no credentials": Row(
        BASE.but(workloads=(), heard=None, credentials=False),
        {**NO_CONTAINER, "Ready": "False CredentialsMissing"},
        "ANTHROPIC_API_KEY",
    ),
    "is to be suspended and runs": Row(
        BASE.but(instance=instance(operating_mode="Suspended")),
        {"Suspended": "False Stopping", "Ready": "False Stopping"},
    ),
    "is to be stopped and is paused": Row(
        BASE.but(instance=instance(operating_mode="Stopped"), workloads=(workload(WorkloadState.PAUSED),)),
        {"WorkloadRunning": "False Paused", **NO_PROCESS, "Suspended": "False Stopping", "Ready": "False Stopping"},
    ),
    "is suspended": Row(
        BASE.but(instance=instance(operating_mode="Suspended"), workloads=(exited(143),), heard=None),
        {"WorkloadRunning": "False Exited", **NO_PROCESS, "Suspended": "True Suspended", "Ready": "False Suspended"},
        "are kept",
    ),
    "is stopped": Row(
        BASE.but(instance=instance(operating_mode="Stopped"), workloads=(), heard=None),
        {**NO_CONTAINER, "Suspended": "True Stopped", "Ready": "False Stopped"},
    ),
    "was suspended and has not begun to run again": Row(
        BASE.but(
            instance=instance(status=healthy_status(conditions=WAS_SUSPENDED)), workloads=(exited(143),), heard=None
        ),
        {
            "WorkloadRunning": "False Exited",
            **NO_PROCESS,
            "Suspended": "True Resuming",
            "Ready": "False StartingWorkload",
        },
    ),
    "was ready and has lost its container: that is no resuming": Row(
        BASE.but(instance=instance(status=healthy_status(conditions=WAS_READY)), workloads=(), heard=None),
        {**NO_CONTAINER, "Ready": "False StartingWorkload"},
    ),
    "was suspended and runs again": Row(
        BASE.but(instance=instance(status=healthy_status(conditions=WAS_SUSPENDED))),
        {},
    ),
    "is being deleted": Row(BASE.but(instance=instance(deleting=True)), {"Ready": "False Deleting"}),
    "is to be deleted and cannot be": Row(
        BASE.but(instance=instance(deleting=True), repository=None, workspace=None),
        {"WorkspaceReady": "Unknown RepositoryNotFound", "Ready": "False RepositoryNotFound"},
    ),
    "could not be given a worktree": Row(
        BASE.but(workspace=workspace(Presence.ABSENT), workloads=(), heard=None),
        {"WorkspaceReady": "False BaseBranchNotFound", **NO_CONTAINER, "Ready": "False BaseBranchNotFound"},
        "no branch 'x'",
        mishap(Terminal("BaseBranchNotFound", "no branch 'x'"), EnsureWorkspace("it does not exist yet")),
    ),
    "could not be stopped: known and reported": Row(
        BASE,
        {"Ready": "False StopFailed"},
        "it clings to life",
        mishap(Terminal("StopFailed", "it clings to life"), StopWorkload("the spec changed")),
    ),
    "could not be stopped because the engine does not answer: nobody knows": Row(
        BASE,
        {"Ready": "Unknown RuntimeUnavailable"},
        "no answer",
        mishap(Unavailable("RuntimeUnavailable", "no answer"), StopWorkload("the spec changed")),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_an_instance_that(name: str) -> None:
    row = TABLE[name]
    found = conditions(row.look, row.mishap)
    assert told(found) == {**HEALTHY, **row.differs}
    ready = find_condition(found, "Ready")
    assert ready is not None
    assert row.words in ready.message


def test_a_workspace_nobody_looked_at_and_nothing_blocked() -> None:
    found = conditions(BASE.but(workspace=None), plan=Plan())
    assert told(found)["WorkspaceReady"] == "Unknown NotLookedAt"
    assert told(found)["Ready"] == "False CreatingWorkspace"


def test_what_is_odd_about_a_ready_worktree_is_told() -> None:
    found = find_condition(conditions(BASE.but(workspace=workspace(detail="somebody switched away"))), "WorkspaceReady")
    assert found is not None
    assert found.message == "somebody switched away"


def test_limits_that_nobody_enforces_are_told() -> None:
    found = find_condition(conditions(BASE.but(workloads=(workload(notice="not enforced: cpus"),))), "WorkloadRunning")
    assert found is not None
    assert (found.status, found.message) == (ConditionStatus.TRUE, "cco-web-1; not enforced: cpus")


def test_a_blocked_plan_comes_before_everything_but_a_mishap() -> None:
    blocked = Plan(blocked=Blocked("Odd", "it is odd"))
    look = BASE.but(instance=instance(deleting=True, operating_mode="Suspended"))
    assert told(conditions(look, plan=blocked))["Ready"] == "False Odd"
    assert told(conditions(look, mishap(Terminal("Worse", "it is worse")), blocked))["Ready"] == "False Worse"


def test_what_could_not_be_looked_at_is_not_known() -> None:
    unseen = BASE.but(repository=repository(ConditionStatus.UNKNOWN, "GitTimeout", "git took too long"), workspace=None)
    found = conditions(unseen)
    assert told(found)["Ready"] == told(found)["WorkspaceReady"] == "Unknown GitTimeout"
    deleted = conditions(unseen.but(instance=instance(deleting=True), workloads=()))
    assert told(deleted)["Ready"] == "Unknown GitTimeout"


QUEUED = Plan(blocked=Blocked("StartQueued", "4 are starting"))


@pytest.mark.parametrize(
    ("reason", "workspace_is", "expected"),
    [
        ("ImageNotFound", ConditionStatus.TRUE, "False ImageNotFound"),
        ("CredentialsMissing", ConditionStatus.TRUE, "False StartQueued"),
        ("DiskPressure", ConditionStatus.TRUE, "False StartQueued"),
        ("NotARepository", ConditionStatus.UNKNOWN, "False StartQueued"),
    ],
)
def test_one_in_the_line_tells_its_last_failure_and_nothing_that_is_over(
    reason: str, workspace_is: ConditionStatus, expected: str
) -> None:
    before = set_condition((), "Ready", ConditionStatus.FALSE, reason, generation=3, now=STARTED)
    of_worktree = "Ready" if workspace_is is ConditionStatus.TRUE else reason
    before = set_condition(before, "WorkspaceReady", workspace_is, of_worktree, generation=3, now=STARTED)
    waiting = BASE.but(instance=instance(status=healthy_status(conditions=before)), workloads=())
    assert told(conditions(waiting, plan=QUEUED))["Ready"] == expected


# A failed look --------------------------------------------------------------------------------------------------

BEFORE, _ = compute_conditions(BASE.instance, BASE.observed, Plan(), None, PACE, now=STARTED)
SEEN = instance(status=healthy_status(conditions=BEFORE))


@pytest.mark.parametrize(
    ("wrong", "expected", "message"),
    [
        (mishap(Unavailable("RuntimeUnavailable", "no answer")), "Unknown RuntimeUnavailable", "no answer"),
        (None, "Unknown LookFailed", ""),
    ],
    ids=["told why", "not told why"],
)
def test_a_failed_look_says_nothing_but_that_it_failed(wrong: Mishap | None, expected: str, message: str) -> None:
    found, _ = compute_conditions(SEEN, None, Plan(), wrong, PACE, now=NOW)
    assert told(found) == {**HEALTHY, "Ready": expected}
    ready = find_condition(found, "Ready")
    assert ready is not None
    assert ready.message == message
    assert [c for c in found if c.type != "Ready"] == [c for c in BEFORE if c.type != "Ready"]


# Times and generations ------------------------------------------------------------------------------------------


def test_the_time_is_that_of_the_last_change_of_status_and_the_generation_is_the_newest() -> None:
    found = conditions(BASE.but(instance=SEEN, workspace=workspace(diverged=True), workloads=(), heard=None))
    times = {condition.type: condition.last_transition_at for condition in found}
    assert times["WorkspaceReady"] == STARTED, "another reason for the same status is no transition"
    assert times["WorkloadRunning"] == NOW
    assert {condition.observed_generation for condition in found} == {SEEN.metadata.generation}


@pytest.mark.parametrize(("age", "silent"), [(0.0, False), (19.9, False), (20.0, True)])
def test_an_agent_is_silent_after_three_missed_heartbeats_and_a_little(age: float, silent: bool) -> None:  # noqa: FBT001  # a column
    assert is_silent(heard(age=age), PACE) is silent
    assert timedelta(seconds=PACE.silent_after) < PACE.start_deadline < PACE.silence_deadline
