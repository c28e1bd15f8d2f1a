"""Work that cannot be saved: nothing is deleted, unless its owner gives it up by name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controller.errors import Fenced, Retryable, Terminal
from controller.reconcile.deletion import PATIENCE
from controller.reconcile.loop import Request
from controller.resources import ConditionStatus, Instance
from controller.runtime.protocol import WorkloadState
from controller.workspace.types import WorkspaceRef, WorkspaceState
from support.fake_workspaces import FakeWorkspaces
from support.world import REPOSITORY_PATH, World


def delete(world: World, *, discard: bool, name: str = "web") -> Instance:
    return world.store.instances.request_deletion(name, discard_work=discard)


def dirty(world: World) -> None:
    worktree = world.git.worktrees[f"{REPOSITORY_PATH}.worktrees/web"]
    worktree.dirty = "dirt"


def give_up_now(world: World) -> None:
    """Let the request be as new as it is for the world's clock; the store takes the machine's."""
    delete(world, discard=True)
    world.now = datetime.now(UTC)


def spoil(world: World, times: int = 40) -> None:
    """Let snapshots fail from now on."""
    for _ in range(times):
        world.git.fail_next("snapshot")


def test_what_cannot_be_saved_is_not_deleted(world: World) -> None:
    world.ready()
    dirty(world)
    spoil(world)
    delete(world, discard=False)
    for _ in range(8):
        world.one_pass()
        world.tick(60)
    assert not world.gone()
    assert world.readiness()[0] == ConditionStatus.UNKNOWN
    delete(world, discard=True)
    world.settle(until=world.gone)
    assert "WorkDiscarded" in world.event_reasons()
    assert world.git.worktrees == {}


def test_nothing_is_saved_while_files_may_still_change(world: World) -> None:
    web = world.ready()
    dirty(world)
    spoil(world, times=1)
    delete(world, discard=False)
    world.one_pass()
    (container,) = world.engine.of_uid(web.metadata.uid)
    assert container.seen.state is WorkloadState.EXITED, "and what cannot be saved holds up no stop"
    assert not world.git.snapshots
    world.settle(until=world.gone)
    assert world.git.snapshots == ["dirt"]


def test_what_may_be_saved_at_the_next_try_is_tried_again(world: World) -> None:
    world.ready()
    dirty(world)
    spoil(world, times=3)
    give_up_now(world)
    world.settle(until=world.gone)
    assert "WorkDiscarded" not in world.event_reasons()
    assert world.git.snapshots == ["dirt"]


def test_what_is_in_trouble_for_long_is_given_up(world: World) -> None:
    world.ready()
    dirty(world)
    spoil(world)
    give_up_now(world)
    world.one_pass()
    world.one_pass()
    assert world.readiness()[1] == "GitUnavailable"
    world.tick(PATIENCE.total_seconds())
    world.settle(until=world.gone)
    assert "WorkDiscarded" in world.event_reasons()


def test_a_repository_that_could_not_be_looked_at_is_not_out_of_sight(world: World) -> None:
    world.ready()
    dirty(world)
    world.git.fail_next("inspect_repository")
    with pytest.raises(Retryable):
        world.repository_reconciler().reconcile(Request("shop"))
    give_up_now(world)
    for _ in range(3):
        world.one_pass()
    assert world.readiness()[0] == ConditionStatus.UNKNOWN
    assert not world.gone()
    world.tick(PATIENCE.total_seconds())
    world.settle(until=world.gone)


def test_one_who_was_replaced_gives_nothing_up(world: World) -> None:
    world.ready()
    dirty(world)
    delete(world, discard=True)
    world.one_pass()
    (container,) = world.engine.containers.values()
    assert container.seen.state is WorkloadState.EXITED
    world.git.fail_next("snapshot", Fenced("Fenced", "another controller has taken over"))
    world.one_pass()
    assert "WorkDiscarded" not in world.event_reasons()
    assert world.git.worktrees


def test_commits_that_cannot_be_brought_home_are_told_with_the_way_out(world: World) -> None:
    world.ready()
    for _ in range(20):
        world.git.fail_next("collect", Terminal("CommitsDamaged", "an object is missing"))
    delete(world, discard=False)
    world.settle()
    ready = world.condition("Ready")
    assert (ready.status, ready.reason) == (ConditionStatus.FALSE, "CommitsDamaged")
    assert "cco delete instance web --discard-work" in ready.message
    told = [event.count for event in world.store.events.list(name="web") if event.reason == "CommitsDamaged"]
    for _ in range(3):
        world.tick(60.0)
        world.settle()
    again = [event.count for event in world.store.events.list(name="web") if event.reason == "CommitsDamaged"]
    assert again == told, "what fails for good is told once"
    delete(world, discard=True)
    world.settle(until=world.gone)


def test_what_is_given_up_out_of_its_repositorys_sight_is_stopped_first(world: World) -> None:
    world.ready()
    world.git.repositories.clear()
    world.repository_reconciler().reconcile(Request("shop"))
    delete(world, discard=True)
    world.one_pass()
    (container,) = world.engine.containers.values()
    assert container.seen.state is WorkloadState.EXITED
    world.settle(until=world.gone)
    assert not world.engine.containers


def test_what_cannot_even_be_read_can_be_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ready()
    dirty(world)
    look = FakeWorkspaces.inspect

    def inspect(self: FakeWorkspaces, ref: WorkspaceRef, *, deep: bool = False) -> WorkspaceState:
        if deep:
            raise Terminal("FileUnreadable", "'secret' cannot be read, so nobody knows whether it is saved")
        return look(self, ref)

    monkeypatch.setattr(FakeWorkspaces, "inspect", inspect)
    delete(world, discard=False)
    world.settle()
    assert world.readiness()[1] == "FileUnreadable"
    delete(world, discard=True)
    world.settle(until=world.gone)
    assert world.git.snapshots == ["dirt"], "saving is tried all the same"


def test_discarding_saves_all_the_same_what_can_be_saved(world: World) -> None:
    world.ready()
    dirty(world)
    delete(world, discard=True)
    world.settle(until=world.gone)
    assert world.git.snapshots == ["dirt"]
    assert "WorkDiscarded" not in world.event_reasons()


def test_an_instance_whose_repository_is_out_of_sight_goes_only_by_name(world: World) -> None:
    web = world.ready()
    world.store.repositories.request_deletion("shop")
    world.store.repositories.purge(world.store.repositories.get("shop").metadata.uid)
    delete(world, discard=False)
    world.settle()
    assert world.readiness() == ("False", "RepositoryNotFound")
    assert "cco delete instance web --discard-work" in world.condition("Ready").message
    delete(world, discard=True)
    world.settle(until=world.gone)
    assert world.engine.of_uid(web.metadata.uid) == []
    assert world.git.worktrees, "its folders stay; 'cco gc' tells of them"


@pytest.mark.parametrize("seen", [True, False], ids=["repository in sight", "repository out of sight"])
def test_a_workload_that_may_still_run_somewhere_is_not_taken_for_gone(*, seen: bool, world: World) -> None:
    web = world.ready()
    (container,) = world.engine.of_uid(web.metadata.uid)
    world.engine.alter(container, state=WorkloadState.LOST)
    if not seen:
        world.store.repositories.request_deletion("shop")
        world.store.repositories.purge(world.store.repositories.get("shop").metadata.uid)
    delete(world, discard=True)
    world.settle()
    assert world.readiness() == ("False", "WorkloadLost")
    assert world.engine.of_uid(web.metadata.uid) != []
