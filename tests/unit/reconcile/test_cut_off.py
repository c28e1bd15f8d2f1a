"""A controller that dies between an act and writing it down: the next one takes it from the world."""

from __future__ import annotations

import pytest

from controller.errors import Retryable
from controller.reconcile.loop import Request
from controller.resources import ConditionStatus, EventType, InstanceStatus, Kind, find_condition
from controller.store.events import EventStore
from support.world import World


class Killed(BaseException):
    """The controller dies here."""


def make_a_workspace_and_die(world: World) -> None:
    world.register()
    world.declare("web")

    def die(verb: str, when: str) -> None:
        if (verb, when) == ("create", "after"):
            raise Killed

    world.git.interrupt = die
    with pytest.raises(Killed):
        world.settle("web")
    world.git.interrupt = None


def test_what_was_begun_is_not_taken_for_never_made_while_the_repository_is_away(world: World) -> None:
    make_a_workspace_and_die(world)
    repositories = dict(world.git.repositories)
    world.git.repositories.clear()
    world.repository_reconciler().reconcile(Request("shop"))
    world.store.instances.request_deletion("web")
    world.settle("web")
    assert "--discard-work" in world.condition("Ready").message
    world.git.repositories.update(repositories)
    world.repository_reconciler().reconcile(Request("shop"))
    world.settle("web")
    assert world.gone("web")
    assert not world.git.worktrees


def test_commits_come_home_although_the_row_does_not_know_where_the_workspace_is(world: World) -> None:
    """As after ``rebuild``, which puts rows together without their statuses."""
    make_a_workspace_and_die(world)
    web = world.get()
    world.store.instances.update_status(web.metadata.uid, InstanceStatus())
    world.settle("web")
    workspace = world.get().status.workspace
    assert workspace is not None
    (worktree,) = world.git.worktrees.values()
    worktree.commits.append("c1")
    world.agents.of(web.metadata.uid).refs_version = "refs-1"
    world.settle("web")
    assert world.git.branches["web"] == ["c1"]


def test_an_instance_stays_with_the_runtime_that_carried_it_although_nobody_wrote_that_down(world: World) -> None:
    world.register()
    world.declare("web")

    def die(verb: str, when: str) -> None:
        if (verb, when) == ("start", "after"):
            raise Killed

    world.engine.interrupt = die
    with pytest.raises(Killed):
        world.settle("web")
    assert world.get().status.runtime == "docker", "written before there could be one"
    world.engine.interrupt = None
    world.settle("web")
    assert world.get().status.runtime == "docker"


def test_what_an_act_did_is_written_although_its_event_cannot_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ready()
    record = EventStore.record

    def locked(store: EventStore, kind: Kind, name: str, uid: str, type_: EventType, reason: str, message: str) -> None:
        if reason == "WorkloadRestarted":
            raise Retryable("DatabaseLocked", "another program writes")
        record(store, kind, name, uid, type_, reason, message)

    world.change(restart_generation=1)
    with monkeypatch.context() as patched:
        patched.setattr(EventStore, "record", locked)
        world.settle("web")
    assert world.get().status.restarted_generation == 1
    assert world.engine.changes.count("start web") == 2


def test_the_event_that_tells_of_a_change_is_not_lost_between_two_writes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register()
    world.declare("web")
    record = EventStore.record

    def die(store: EventStore, kind: Kind, name: str, uid: str, type_: EventType, reason: str, message: str) -> None:
        if reason == "Ready":
            raise Killed
        record(store, kind, name, uid, type_, reason, message)

    with monkeypatch.context() as patched:
        patched.setattr(EventStore, "record", die)
        with pytest.raises(Killed):
            world.settle("web")
    ready = find_condition(world.get().status.conditions, "Ready")
    assert ready is None or ready.status is not ConditionStatus.TRUE
    world.settle("web")
    assert [event.reason for event in world.store.events.list(name="web")].count("Ready") == 1
