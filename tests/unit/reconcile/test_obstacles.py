"""What stands in an instance's way, as the state of the world after the loop has settled; see ``test_lifecycle``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import Terminal, Unavailable
from controller.reconcile.loop import Request
from controller.resources import DisplayState, display_state
from controller.runtime.protocol import WorkloadState
from support.world import REPOSITORY_PATH, World

WORKTREE = f"{REPOSITORY_PATH}.worktrees/web"


def states(world: World) -> list[WorkloadState]:
    return [container.seen.state for container in world.engine.containers.values()]


def test_an_instance_waits_for_the_first_look_at_its_repository(world: World) -> None:
    world.register()
    world.declare()
    world.store.repositories.update_status(
        world.store.repositories.get("shop").metadata.uid,
        world.store.repositories.get("shop").status.model_copy(update={"conditions": ()}),
    )
    world.settle()
    assert display_state(world.get()) == (DisplayState.STARTING, "WaitingForRepository")


def test_a_repository_that_moved_away_stops_nothing(world: World) -> None:
    world.ready()
    del world.git.repositories[REPOSITORY_PATH]
    world.repository_reconciler().reconcile(Request("shop"))
    world.settle()
    assert states(world) == [WorkloadState.RUNNING]
    assert world.condition("Ready").reason == "RepositoryNotFound"
    assert world.condition("WorkspaceReady").status.value == "Unknown"


def test_a_repository_in_which_nothing_can_be_begun_is_in_nobodys_way_who_has_begun(world: World) -> None:
    """As after ``git checkout --orphan`` in the user's own checkout."""
    web = world.ready()
    state = world.git.repositories[REPOSITORY_PATH]
    world.git.repositories[REPOSITORY_PATH] = replace(state, head=None)
    world.repository_reconciler().reconcile(Request("shop"))
    world.declare("late")
    world.settle("web")
    world.settle("late")
    assert world.readiness("late")[1] == "EmptyRepository"
    assert world.readiness("web") == ("True", "Ready")
    world.git.worktrees[WORKTREE].commits.append("c1")
    world.agents.of(web.metadata.uid).refs_version = "refs-9"
    world.settle("web")
    assert world.git.branches["web"] == ["c1"]
    world.store.instances.request_deletion("web")
    world.settle("web")
    assert world.gone("web")


def test_what_fails_beside_the_session_holds_up_nothing_else(world: World) -> None:
    web = world.ready()
    for _ in range(20):
        world.git.fail_next("collect", Terminal("CommitsDamaged", "an object is missing"))
    world.agents.of(web.metadata.uid).refs_version = "refs-9"
    world.change(resources={"memory": "4Gi"})
    world.settle()
    (container,) = world.engine.of_uid(web.metadata.uid)
    assert container.seen.limits.memory == 4 * 1024**3
    assert world.readiness() == ("True", "CommitsDamaged")
    world.change(operating_mode="Suspended")
    world.settle()
    assert states(world) == [WorkloadState.EXITED]
    assert world.readiness() == ("False", "Suspended")


def test_without_credentials_nothing_is_started_and_nothing_stopped(world: World) -> None:
    world.register()
    world.credentials = False
    world.declare()
    world.settle()
    assert states(world) == []
    assert WORKTREE in world.git.worktrees
    assert world.condition("Ready").reason == "CredentialsMissing"
    assert "ANTHROPIC_API_KEY" in world.condition("Ready").message
    world.credentials = True
    world.settle()
    assert states(world) == [WorkloadState.RUNNING]
    world.credentials = False
    world.settle()
    assert states(world) == [WorkloadState.RUNNING]


def test_a_failed_look_changes_nothing_but_ready_unknown(world: World) -> None:
    world.ready()
    before = world.get().status
    world.engine.go_away()
    world.settle()
    after = world.get().status
    assert world.condition("Ready").status.value == "Unknown"
    assert display_state(world.get())[0] is DisplayState.UNKNOWN
    assert after.model_copy(update={"conditions": ()}) == before.model_copy(update={"conditions": ()})
    world.engine.come_back()
    world.settle()
    assert world.condition("Ready").status.value == "True"
    assert world.engine.changes.count("start web") == 1


def test_a_failed_look_at_git_stops_nothing(world: World) -> None:
    world.ready()
    world.git.fail_next("inspect")
    world.one_pass()
    assert world.condition("Ready").reason == "GitUnavailable"
    assert states(world) == [WorkloadState.RUNNING]


def test_a_second_look_that_fails_reports_the_first(world: World) -> None:
    world.register()
    world.declare()
    calls = iter([None, Unavailable("GitUnavailable", "gone")])
    world.git.interrupt = lambda verb, when: (
        _raise(next(calls, None)) if (verb, when) == ("inspect", "before") else None
    )
    assert world.one_pass() == 0.0
    assert world.condition("WorkloadRunning").reason == "Absent"
    world.settle()
    assert world.condition("Ready").status.value == "True"


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error


def test_a_missing_image_says_so_and_heals_by_itself(world: World) -> None:
    world.register()
    world.declare(image="nosuch:1")
    world.settle()
    assert display_state(world.get()) == (DisplayState.ERROR, "ImageNotFound")
    world.engine.images["nosuch:1"] = "sha256:" + "3" * 64
    world.settle()
    assert states(world) == [WorkloadState.RUNNING]


def test_a_name_taken_by_something_foreign_is_never_touched(world: World) -> None:
    world.register()
    world.declare()
    world.engine.occupy("cco-web-1")
    world.settle()
    assert world.condition("Ready").reason == "NameConflict"
    assert "cco-web-1" in world.engine.foreign


def test_a_foreign_worktree_blocks(world: World) -> None:
    world.register()
    world.declare("other")
    world.settle("other")
    world.git.worktrees[WORKTREE] = world.git.worktrees.pop(f"{REPOSITORY_PATH}.worktrees/other")
    world.declare("web")
    world.settle()
    assert world.condition("Ready").reason == "PathOccupied"
    assert world.condition("WorkspaceReady").reason == "PathOccupied"
    world.store.instances.request_deletion("web")
    world.settle()
    assert world.gone()
    assert WORKTREE in world.git.worktrees, "somebody else's stays"
    assert world.git.trespasses == [], "the loop did not even ask"


def test_a_worktree_removed_by_hand_stops_the_container_before_it_is_made_again(world: World) -> None:
    world.ready()
    world.git.worktrees[WORKTREE].broken = "its folder is gone"
    changes = world.engine.changes
    world.settle()
    assert changes[-2:] == ["stop web", "start web"]
    assert states(world) == [WorkloadState.RUNNING]
    assert world.git.worktrees[WORKTREE].broken == ""


def test_two_containers_with_one_uid_block(world: World) -> None:
    web = world.ready()
    (container,) = world.engine.containers.values()
    world.engine.make("test", "cco-web-7", replace(container.spec, attempt=7))
    world.settle()
    assert world.condition("Ready").reason == "AmbiguousWorkload"
    assert len(world.engine.of_uid(web.metadata.uid)) == 2
    world.store.instances.request_deletion("web")
    world.settle()
    assert world.gone()
    assert states(world) == []


def test_a_lost_workload_is_waited_for(world: World) -> None:
    web = world.ready()
    world.engine.lose(web.metadata.uid)
    world.settle()
    assert world.condition("Ready").reason == "WorkloadLost"
    assert states(world) == [WorkloadState.LOST]


def test_a_crash_between_create_and_start_is_continued(world: World) -> None:
    world.register()
    world.declare()
    world.engine.fail_next("start")
    world.one_pass()
    assert states(world) == [WorkloadState.CREATED]
    world.settle()
    assert states(world) == [WorkloadState.RUNNING]
    assert world.get().status.attempt == 1


def test_a_session_that_does_not_come_up_is_restarted_and_counted(world: World) -> None:
    world.register()
    world.declare()
    world.agents.of(world.get().metadata.uid).muted = True
    world.settle()
    assert display_state(world.get()) == (DisplayState.STARTING, "StartingSession")
    assert world.one_pass() == pytest.approx(180.0)
    world.tick(180)
    world.settle()
    assert world.get().status.failures.reason == "SessionNotStarted"
    world.settle(until=lambda: world.condition("Ready").reason == "CrashLoop")


def test_a_controller_that_has_just_started_restarts_nobody(world: World) -> None:
    web = world.ready()
    world.tick(86400)
    world.agents.of(web.metadata.uid).muted = True
    world.agents.listening = 0.5
    world.settle()
    assert world.engine.changes.count("start web") == 1


def test_silence_is_told_and_at_last_ended(world: World) -> None:
    web = world.ready()
    agent = world.agents.of(web.metadata.uid)
    world.tick(60.0)
    agent.age = 60.0
    world.settle()
    assert world.condition("AgentHealthy").reason == "NoSignal"
    assert world.condition("Ready").status.value == "False"
    assert world.one_pass() == pytest.approx(240.0)
    world.tick(241.0)
    agent.age = 301.0
    world.one_pass()
    agent.age = 0.0
    world.settle()
    assert world.get().status.failures.reason == "NoSignal"
    assert world.condition("Ready").status.value == "True"


def test_an_exited_session_in_a_living_container_is_not_ready(world: World) -> None:
    web = world.ready()
    world.agents.of(web.metadata.uid).state = "exited"
    world.settle()
    assert world.condition("SessionReady").reason == "SessionExited"
    assert world.condition("Ready").status.value == "False"


def test_a_stranger_that_claims_to_be_a_later_attempt_changes_nothing_once_it_is_gone(world: World) -> None:
    web = world.ready()
    (container,) = world.engine.of_uid(web.metadata.uid)
    world.engine.make("test", "stranger", replace(container.spec, attempt=7))
    world.settle()
    assert world.condition("Ready").reason == "AmbiguousWorkload"
    del world.engine.containers["stranger"]
    world.settle()
    assert world.condition("Ready").status.value == "True"
    assert world.get().status.attempt == 1


def test_reports_of_an_older_attempt_do_not_count(world: World) -> None:
    web = world.ready()
    uid = web.metadata.uid
    (container,) = world.engine.containers.values()
    world.store.instances.update_status(uid, web.status.model_copy(update={"attempt": 5}))
    world.settle()
    assert container.seen.attempt == 1
    assert world.condition("SessionReady").reason == "StartingSession"


def test_the_last_words_of_an_earlier_run_do_not_count(world: World) -> None:
    web = world.ready()
    agent = world.agents.of(web.metadata.uid)
    agent.frozen_at = world.now
    world.tick(5)
    world.engine.crash(web.metadata.uid, 137)
    world.settle()
    assert world.condition("SessionReady").reason == "StartingSession"
    assert display_state(world.get())[0] is DisplayState.STARTING
    agent.frozen_at = None
    world.settle()
    assert display_state(world.get())[0] is DisplayState.IDLE
