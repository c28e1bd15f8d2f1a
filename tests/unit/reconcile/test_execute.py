"""Carrying out actions: what is refused, what is told, and what a start does to the record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from controller.errors import Fenced, Retryable
from controller.reconcile.actions import (
    Action,
    CollectCommits,
    CreateWorkload,
    DeliverInput,
    EnsureWorkspace,
    RemoveWorkload,
    RestartWorkload,
    SnapshotWork,
    StartWorkload,
    StopWorkload,
    UpdateLimits,
)
from controller.reconcile.execute import EVENT_REASONS, Executor
from controller.reconcile.observed import Wanted
from controller.resources import InputState, Instance, InstanceStatus
from controller.resources.observed import FailureRecord
from controller.runtime.protocol import Limits, WorkloadState
from support.fake_workspaces import snapshot_of
from support.world import REPOSITORY_PATH, World

WORKTREE = f"{REPOSITORY_PATH}.worktrees/web"


@dataclass
class Stage:
    """An instance that is ready, and the executor."""

    world: World
    instance: Instance
    wanted: Wanted
    executor: Executor

    def act(self, action: Action, status: InstanceStatus | None = None) -> InstanceStatus:
        before = status if status is not None else self.instance.status
        return self.executor.execute(action, self.instance, before, self.wanted, self.world.now)


@pytest.fixture
def stage(world: World) -> Stage:
    world.ready()
    reconciler = world.reconciler()
    instance, _, wanted = reconciler.observe(world.get())
    assert wanted is not None
    return Stage(world, instance, wanted, reconciler.executor)


def test_every_action_has_a_reason_for_its_event() -> None:
    actions = set(Action.__args__)
    assert set(EVENT_REASONS) == actions
    assert len(set(EVENT_REASONS.values())) == len(actions)


@pytest.mark.parametrize("action", [EnsureWorkspace("x"), CreateWorkload(1, "x"), StartWorkload("x")])
def test_what_builds_needs_a_worked_out_spec(stage: Stage, action: Action) -> None:
    with pytest.raises(AssertionError, match="without a worked-out spec"):
        stage.executor.execute(action, stage.instance, stage.instance.status, None, stage.world.now)


def test_an_action_nobody_knows_is_a_bug_and_said_so(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="no way to carry out object"):
        stage.act(cast("Any", object()))


def test_a_prompt_that_did_not_go_out_stays_pending(stage: Stage) -> None:
    uid = stage.instance.metadata.uid
    sent = stage.world.store.inputs.create("web", uid, "go on")
    stage.world.agents.of(uid).connected = False
    with pytest.raises(Retryable, match="it will come back") as caught:
        stage.act(DeliverInput(sent, "a prompt waits"))
    assert caught.value.delay == 1.0
    assert stage.world.store.inputs.get(sent.id).state is InputState.PENDING


def test_a_prompt_that_went_out_is_delivered(stage: Stage) -> None:
    sent = stage.world.store.inputs.create("web", stage.instance.metadata.uid, "go on")
    stage.act(DeliverInput(sent, "a prompt waits"))
    assert stage.world.store.inputs.get(sent.id).state is InputState.DELIVERED


@pytest.mark.parametrize("action", [CreateWorkload(2, "gone"), RestartWorkload("asked")], ids=["created", "stopped"])
def test_one_who_was_replaced_meanwhile_starts_nothing(action: Action, stage: Stage) -> None:
    world, uid = stage.world, stage.instance.metadata.uid
    if isinstance(action, CreateWorkload):
        stage.act(StopWorkload("it is replaced"))
    looks = iter([None, Fenced("Fenced", "another controller has taken over")])

    def fence() -> None:
        if (error := next(looks)) is not None:
            raise error

    with pytest.raises(Fenced):
        replace(stage.executor, fence=fence).execute(
            action, stage.instance, stage.instance.status, stage.wanted, world.now
        )
    assert all(each.seen.state is not WorkloadState.RUNNING for each in world.engine.of_uid(uid))


def test_an_action_that_fails_is_no_event(stage: Stage) -> None:
    events = stage.world.event_reasons()
    stage.world.engine.fail_next("update")
    with pytest.raises(Retryable):
        stage.act(UpdateLimits(Limits(1.0, 2**30, 64), "spec.resources changed"))
    assert stage.world.event_reasons() == events


@pytest.mark.parametrize(
    ("action", "told"),
    [(CollectCommits("refs-9", "moved"), False), (SnapshotWork("deleting"), False), (StartWorkload("ended"), True)],
    ids=["collecting what is home already", "saving what is clean", "starting"],
)
def test_what_changes_nothing_is_no_event(stage: Stage, action: Action, told: bool) -> None:  # noqa: FBT001  # a column
    before = stage.world.event_reasons()
    stage.act(action)
    assert (stage.world.event_reasons() != before) is told


def test_a_snapshot_and_a_collection_are_recorded(stage: Stage) -> None:
    stage.world.git.worktrees[WORKTREE].dirty = "half a thought"
    stage.world.git.worktrees[WORKTREE].commits.append("c1")
    status = stage.act(CollectCommits("refs-9", "moved"), stage.act(SnapshotWork("deleting")))
    assert status.workspace is not None
    assert status.workspace.snapshot == snapshot_of("half a thought")
    assert (status.workspace.head, status.workspace.collected_refs) == ("c1", "refs-9")
    assert {"WorkSnapshotted", "CommitsCollected"} <= set(stage.world.event_reasons())


@pytest.mark.parametrize(("attempt", "restarts"), [(0, 0), (1, 1)], ids=["the first start", "another start"])
def test_starts_are_counted_but_for(stage: Stage, attempt: int, restarts: int) -> None:
    stage.act(RemoveWorkload("the one that was there"))
    status = stage.act(CreateWorkload(attempt + 1, "x"), InstanceStatus(attempt=attempt))
    assert (status.attempt, status.restarts) == (attempt + 1, restarts)


@pytest.mark.parametrize(("asked", "left"), [(1, 0), (0, 5)], ids=["a person asked for", "the loop did by itself"])
def test_failures_are_forgiven_by_a_restart_that(stage: Stage, asked: int, left: int) -> None:
    spec = stage.instance.spec.model_copy(update={"restart_generation": asked})
    stage.instance = stage.instance.model_copy(update={"spec": spec})
    status = stage.act(StartWorkload("x"), InstanceStatus(attempt=1, failures=FailureRecord(count=5)))
    assert (status.failures.count, status.restarted_generation) == (left, asked)
