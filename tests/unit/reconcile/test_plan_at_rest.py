"""The decision about an instance that does not run, should not, or must not be touched, as tables."""

from __future__ import annotations

import pytest

from controller.reconcile.actions import CreateWorkload, RemoveWorkspace
from controller.reconcile.exits import MAX_FAILURES
from controller.resources import ConditionStatus, LastExit, Parking, set_condition
from controller.resources.observed import FailureRecord
from controller.runtime.protocol import WorkloadState
from controller.workspace.types import Presence, Unsaved
from support.looks import STARTED, Look, ago, exited, healthy_status, heard, instance, repository, workload, workspace
from support.plan_table import BASE, Row, check, failed

WORKLESS = BASE.but(workloads=(), heard=None)
ENDED = BASE.but(workloads=(exited(),), heard=None)
DELETED = BASE.but(instance=instance(deleting=True))
LAST = LastExit(
    workload_id="c0ffee", finished_at=ago(seconds=1), exit_code=1, reason="ExitedWithError", message="it ended"
)
PARKED = Parking(reason="DiskExceeded", message="it holds too much", since=STARTED, generation=1)
SUSPENDED = set_condition((), "Suspended", ConditionStatus.TRUE, "Suspended", generation=1, now=STARTED)


def ended(code: int, policy: str, *, reason: str = "ExitedWithError", **status: object) -> Look:
    last = LAST.model_copy(update={"exit_code": code, "reason": reason})
    spec = instance(restart_policy=policy, status=healthy_status(last_exit=last, **status))
    return BASE.but(instance=spec, workloads=(exited(code),), heard=None)


NOT_RUNNING: dict[str, Row] = {
    "has ended a moment ago: how is not known yet": Row(
        BASE.but(workloads=(workload(WorkloadState.EXITED, ending=True),)), [], None, 0.0
    ),
    "has no container: the next attempt": Row(WORKLESS, ["CreateWorkload"]),
    "has no container and no worktree": Row(
        WORKLESS.but(workspace=workspace(Presence.ABSENT)), ["EnsureWorkspace", "CreateWorkload"]
    ),
    "has no container and half a worktree": Row(
        WORKLESS.but(workspace=workspace(Presence.BROKEN, detail="its folder is gone")),
        ["EnsureWorkspace", "CreateWorkload"],
    ),
    "has no container and nothing to log in with: the worktree is made, and credentials are waited for": Row(
        WORKLESS.but(workspace=workspace(Presence.ABSENT), credentials=False),
        ["EnsureWorkspace"],
        "CredentialsMissing",
        10.0,
    ),
    "has no container and failed too often": Row(
        WORKLESS.but(instance=instance(status=healthy_status(failures=failed(MAX_FAILURES)))), [], "CrashLoop", None
    ),
    "failed too often, but a person asked for a restart": Row(
        WORKLESS.but(instance=instance(restart_generation=1, status=healthy_status(failures=failed(MAX_FAILURES)))),
        ["CreateWorkload"],
    ),
    "failed and waits for its time": Row(
        WORKLESS.but(instance=instance(status=healthy_status(failures=failed(2, retry_in=7.0)))), [], "BackingOff", 7.0
    ),
    "failed and its time has come": Row(
        WORKLESS.but(instance=instance(status=healthy_status(failures=failed(2, retry_in=0.0)))), ["CreateWorkload"]
    ),
    "failed and no time was set": Row(
        WORKLESS.but(instance=instance(status=healthy_status(failures=FailureRecord(count=1)))), ["CreateWorkload"]
    ),
    "was created and never started": Row(
        BASE.but(workloads=(workload(WorkloadState.CREATED),), heard=None), ["StartWorkload"]
    ),
    "was paused by hand": Row(BASE.but(workloads=(workload(WorkloadState.PAUSED),), heard=None), ["StartWorkload"]),
    "ended": Row(ENDED, ["StartWorkload"]),
    "ended and has nothing to log in with": Row(ENDED.but(credentials=False), [], "CredentialsMissing", 10.0),
    "ended with half a worktree": Row(
        ENDED.but(workspace=workspace(Presence.BROKEN)), ["EnsureWorkspace", "StartWorkload"]
    ),
    "ended and has commits": Row(ENDED.but(heard=heard(refs_version="refs-2")), ["StartWorkload", "CollectCommits"]),
    "ended and its image changed": Row(
        ENDED.but(instance=instance(image="other:1")), ["RemoveWorkload", "CreateWorkload"]
    ),
    "ended well, and always runs": Row(ended(0, "Always"), ["StartWorkload"]),
    "ended well, and runs on failure": Row(ended(0, "OnFailure"), [], "Completed", None),
    "ended badly, and runs on failure": Row(ended(1, "OnFailure"), ["StartWorkload"]),
    "ended well, and never runs again": Row(ended(0, "Never"), [], "Completed", None),
    "ended badly, and never runs again": Row(ended(1, "Never"), [], "ExitedWithError", None),
    "ended for good, and has commits": Row(
        ended(0, "Never").but(heard=heard(refs_version="refs-2")), ["CollectCommits"], "Completed", None
    ),
    "ended for good, but a person asked for a restart": Row(
        ended(0, "Never").but(
            instance=instance(restart_policy="Never", restart_generation=1, status=healthy_status(last_exit=LAST))
        ),
        ["StartWorkload"],
    ),
    "ended, and a later container was removed by hand": Row(
        BASE.but(instance=instance(status=healthy_status(attempt=2)), workloads=(exited(),), heard=None),
        ["RemoveWorkload", "CreateWorkload"],
    ),
    "ended because it was suspended, and is to run again": Row(
        ended(143, "Never", conditions=SUSPENDED), ["StartWorkload"]
    ),
    "ended for good in another container than this one": Row(
        ended(0, "Never").but(workloads=(exited(0, id="another"),)), ["StartWorkload"]
    ),
}


@pytest.mark.parametrize("name", NOT_RUNNING)
def test_an_instance_to_run_that(name: str) -> None:
    check(NOT_RUNNING[name])


def resting(mode: str, **changes: object) -> Look:
    return BASE.but(instance=instance(operating_mode=mode), **changes)


RESTING: dict[str, Row] = {
    "Suspended, and runs": Row(resting("Suspended"), ["StopWorkload"]),
    "Stopped, and runs": Row(resting("Stopped"), ["StopWorkload"]),
    "Suspended, and is paused": Row(
        resting("Suspended", workloads=(workload(WorkloadState.PAUSED),)), ["StopWorkload"]
    ),
    "Suspended, and has ended: the container stays": Row(resting("Suspended", workloads=(exited(143),)), []),
    "Stopped, and has ended: the container goes": Row(resting("Stopped", workloads=(exited(143),)), ["RemoveWorkload"]),
    "Stopped, and has ended with new commits: nothing of theirs is in the container": Row(
        resting("Stopped", workloads=(exited(143),), heard=heard(refs_version="refs-2")),
        ["RemoveWorkload", "CollectCommits"],
    ),
    "Stopped, and gone before its commits came home": Row(
        resting("Stopped", workloads=(), heard=heard(refs_version="refs-2")), ["CollectCommits"]
    ),
    "Suspended, and runs out of its repository's sight: a stop destroys nothing": Row(
        resting("Suspended", repository=None, workspace=None), ["StopWorkload"], "RepositoryNotFound"
    ),
    "Suspended, and has ended out of its repository's sight": Row(
        resting("Suspended", repository=None, workspace=None, workloads=(exited(143),)), [], "RepositoryNotFound"
    ),
    "Stopped, and two containers run out of its repository's sight": Row(
        resting("Stopped", repository=None, workspace=None, workloads=(workload(attempt=2), workload())),
        [],
        "RepositoryNotFound",
    ),
    "parked, and runs out of its repository's sight": Row(
        BASE.but(instance=instance(status=healthy_status(parked=PARKED)), repository=None, workspace=None),
        ["StopWorkload"],
        "RepositoryNotFound",
    ),
    "Suspended, and runs in a repository in which nothing new can be begun": Row(
        resting("Suspended", repository=repository(ConditionStatus.FALSE, "BaseBranchNotFound", "no 'main'")),
        ["StopWorkload"],
    ),
    "Suspended, and never ran": Row(resting("Suspended", workloads=()), []),
    "Stopped, and is gone": Row(resting("Stopped", workloads=()), []),
    "Stopped, and something foreign is where the worktree was: that is in nobody's way": Row(
        resting("Stopped", workloads=(), workspace=workspace(Presence.FOREIGN)), []
    ),
}


@pytest.mark.parametrize("name", RESTING)
def test_an_instance_that_should_be(name: str) -> None:
    check(RESTING[name])


TWO = (workload(attempt=2, name="cco-web-2", id="beef"), workload())
NO_REPOSITORY = WORKLESS.but(repository=None, workspace=None)

OBSTACLES: dict[str, tuple[Look, str, bool, str]] = {
    "two containers carry the uid": (BASE.but(workloads=TWO), "AmbiguousWorkload", False, "cco-web-2, cco-web-1"),
    "the place it runs on is silent": (
        BASE.but(workloads=(workload(WorkloadState.LOST),)),
        "WorkloadLost",
        False,
        "may still be running",
    ),
    "the worktree is somebody else's": (
        BASE.but(workspace=workspace(Presence.FOREIGN, detail="not made by us")),
        "PathOccupied",
        False,
        "not made by us",
    ),
    "the repository is not registered": (NO_REPOSITORY, "RepositoryNotFound", False, "'shop'"),
    "the repository was not looked at yet": (
        NO_REPOSITORY.but(repository=repository(None)),
        "WaitingForRepository",
        False,
        "first look",
    ),
    "the repository is broken": (
        NO_REPOSITORY.but(repository=repository(ConditionStatus.FALSE, "EmptyRepository", "no commit yet")),
        "EmptyRepository",
        False,
        "'shop': no commit yet",
    ),
    "the repository could not be looked at": (
        NO_REPOSITORY.but(repository=repository(ConditionStatus.UNKNOWN, "GitTimeout", "git took too long")),
        "GitTimeout",
        True,
        "'shop': git took too long",
    ),
    "the repository is not registered any more, and the container runs": (
        BASE.but(repository=None, workspace=None),
        "RepositoryNotFound",
        False,
        "cco init",
    ),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_nothing_is_done_while(name: str) -> None:
    look, reason, unknown, words = OBSTACLES[name]
    decision = check(Row(look, [], reason))
    assert decision.blocked is not None
    assert decision.blocked.unknown is unknown
    assert words in decision.blocked.message


SAVED = DELETED.but(workloads=(), workspace=workspace(unsaved=Unsaved.NONE))
UNSAVED = workspace(unsaved=Unsaved.UNSAVED)
LAST_STEPS = ["CollectCommits", "RemoveWorkspace", "RemoveHome", "Release"]

DELETION: dict[str, Row] = {
    "stops the container before anything is saved": Row(DELETED.but(workspace=UNSAVED), ["StopWorkload"]),
    "saves what nobody has examined": Row(
        DELETED.but(workloads=(exited(143),)), ["CollectCommits", "SnapshotWork", "RemoveWorkload"]
    ),
    "stops a paused container": Row(SAVED.but(workloads=(workload(WorkloadState.PAUSED),)), ["StopWorkload"]),
    "waits for the engine to clear up after an end": Row(
        SAVED.but(workloads=(workload(WorkloadState.EXITED, ending=True),)), [], None, 0.0
    ),
    "stops both of two containers": Row(SAVED.but(workloads=TWO), ["StopWorkload"]),
    "saves what the stop left, before it removes the container": Row(
        DELETED.but(workloads=(exited(143),), workspace=UNSAVED), ["CollectCommits", "SnapshotWork", "RemoveWorkload"]
    ),
    "saves first where there is no container": Row(SAVED.but(workspace=UNSAVED), ["CollectCommits", "SnapshotWork"]),
    "takes the row last": Row(SAVED, LAST_STEPS),
    "saves and removes half a worktree": Row(
        SAVED.but(workspace=workspace(Presence.BROKEN, unsaved=Unsaved.SNAPSHOTTED)), LAST_STEPS
    ),
    "has no worktree to remove": Row(SAVED.but(workspace=workspace(Presence.ABSENT)), LAST_STEPS[2:]),
    "does not touch somebody else's worktree": Row(SAVED.but(workspace=workspace(Presence.FOREIGN)), LAST_STEPS[2:]),
    "does not touch somebody else's worktree, and removes its own container": Row(
        SAVED.but(workspace=workspace(Presence.FOREIGN), workloads=(exited(143),)),
        ["RemoveWorkload", *LAST_STEPS[2:]],
    ),
    "removes the container before the worktree, in one pass where there is nothing to save": Row(
        SAVED.but(workloads=(exited(143),)), [LAST_STEPS[0], "RemoveWorkload", *LAST_STEPS[1:]]
    ),
    "does not care whether it should run or has failed": Row(
        SAVED.but(
            instance=instance(deleting=True, status=healthy_status(failures=failed(MAX_FAILURES))), credentials=False
        ),
        LAST_STEPS,
    ),
    "without a repository stops, and waits while there may be work": Row(
        DELETED.but(repository=None, workspace=None), ["StopWorkload"], "RepositoryNotFound", None
    ),
    "without a repository waits while there may be work": Row(
        DELETED.but(repository=None, workspace=None, workloads=(exited(143),)), [], "RepositoryNotFound", None
    ),
    "without a repository waits for the worktree that was made": Row(
        DELETED.but(repository=None, workspace=None, workloads=()), [], "RepositoryNotFound", None
    ),
    "without a repository is done where nothing was made": Row(
        NO_REPOSITORY.but(instance=instance(deleting=True, status=healthy_status(workspace=None))),
        ["RemoveHome", "Release"],
    ),
}


@pytest.mark.parametrize("name", DELETION)
def test_a_deletion(name: str) -> None:
    check(DELETION[name])


@pytest.mark.parametrize(("policy", "kept"), [("Delete", False), ("Retain", True)])
def test_the_worktree_policy_decides_about_the_folder(policy: str, kept: bool) -> None:  # noqa: FBT001  # a column
    decision = SAVED.but(instance=instance(deleting=True, worktree_policy=policy)).plan()
    (removal,) = [action for action in decision.actions if isinstance(action, RemoveWorkspace)]
    assert removal.keep_worktree is kept


@pytest.mark.parametrize(
    ("recorded", "there", "expected"),
    [(0, None, 1), (4, None, 5), (4, 4, 5), (4, 6, 7)],
    ids=["the first", "gone", "replaced", "replaced after a crash"],
)
def test_attempts_are_numbered_without_gaps_or_repetitions(recorded: int, there: int | None, expected: int) -> None:
    workloads = () if there is None else (exited(attempt=there, spec_hash="another"),)
    look = BASE.but(instance=instance(status=healthy_status(attempt=recorded)), workloads=workloads, heard=None)
    (creation,) = [action for action in look.plan().actions if isinstance(action, CreateWorkload)]
    assert creation.attempt == expected
    assert (creation.reason == "first start") is (expected == 1)
