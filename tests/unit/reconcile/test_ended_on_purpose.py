"""What the controller ends itself is no failure and not the end of the work; whoever comes after a crash knows."""

from __future__ import annotations

import pytest

from controller.errors import Retryable
from controller.runtime.protocol import WorkloadState
from support.world import REPOSITORY_PATH, World


def spoil_the_worktree(world: World) -> None:
    world.git.worktrees[f"{REPOSITORY_PATH}.worktrees/web"].broken = "its folder was removed by hand"


def runs(world: World) -> bool:
    (container,) = world.engine.of_uid(world.get().metadata.uid)
    return container.seen.state is WorkloadState.RUNNING


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_a_repair_of_the_worktree_starts_the_session_again_whatever_the_policy(world: World, policy: str) -> None:
    world.ready()
    world.change(restart_policy=policy)
    world.settle()
    spoil_the_worktree(world)
    world.settle()
    assert runs(world)
    assert world.condition("Ready").status.value == "True"
    assert world.get().status.failures.count == 0
    last = world.get().status.last_exit
    assert last is not None
    assert (last.asked, last.reason) == (True, "Stopped")


def test_a_worktree_that_breaks_at_every_start_is_given_up(world: World) -> None:
    """Something in the box does it: stopped and started for ever, it would never come to an end."""
    world.ready()
    for _ in range(20):
        spoil_the_worktree(world)
        world.settle()
        world.tick(60.0)
    assert world.readiness() == ("False", "CrashLoop")
    assert "the worktree needs repair" in world.condition("Ready").message
    assert world.get().status.restarts < 10


def test_a_crash_between_stop_and_start_is_not_taken_for_a_failure(world: World) -> None:
    world.ready()
    world.engine.fail_next("start", Retryable("RuntimeFailed", "the controller dies here"))
    world.change(restart_generation=1)
    world.one_pass()
    world.new_process()
    assert not runs(world)
    world.settle()
    assert runs(world)
    assert world.get().status.failures.count == 0


def test_the_end_of_the_next_run_counts_again(world: World) -> None:
    web = world.ready()
    spoil_the_worktree(world)
    world.settle()
    world.engine.crash(web.metadata.uid, 1)
    world.settle()
    assert world.get().status.failures.count == 1


def test_an_end_that_was_meant_and_did_not_come_to_be_is_forgotten(world: World) -> None:
    web = world.ready()
    world.change(restart_policy="Never", operating_mode="Suspended")
    world.engine.fail_next("stop", Retryable("RuntimeFailed", "the engine does not answer"))
    world.one_pass()
    assert world.get().status.ending is not None
    world.change(operating_mode="Running")
    world.settle()
    assert runs(world)
    assert world.get().status.ending is None
    world.engine.crash(web.metadata.uid, 1)
    world.settle()
    last = world.get().status.last_exit
    assert last is not None
    assert (last.asked, last.reason) == (False, "ExitedWithError")
    assert not runs(world)


def test_an_end_that_cannot_be_noted_does_not_happen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ready()
    world.change(restart_generation=1)
    reconciler = world.reconciler()

    def locked(*_: object) -> bool:
        raise Retryable("DatabaseLocked", "try again")

    before = world.engine.changes.copy()
    with monkeypatch.context() as patched:
        patched.setattr(type(reconciler.instances), "update_status", locked)
        world.one_pass()
    assert world.engine.changes == before


def test_an_end_is_told_before_anything_is_done_about_it(world: World) -> None:
    web = world.ready()
    seen: list[str] = []

    def look(verb: str, when: str) -> None:
        if (verb, when) == ("start", "before"):
            seen.append(f"{world.condition('Ready').status} {world.condition('Ready').reason}")

    world.engine.crash(web.metadata.uid, 1)
    world.engine.interrupt = look
    world.settle()
    assert seen == ["False StartingWorkload"]
    assert world.condition("Ready").status.value == "True"
