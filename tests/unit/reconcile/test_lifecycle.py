"""The life of an instance as the state of the world after the loop has settled; how it got there is not asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import Terminal
from controller.resources import DisplayState, InputState, display_state
from controller.runtime.protocol import WorkloadState
from support.world import REPOSITORY_PATH, World

WORKTREE = f"{REPOSITORY_PATH}.worktrees/web"


def states(world: World) -> list[WorkloadState]:
    return [container.seen.state for container in world.engine.containers.values()]


def test_a_declared_instance_becomes_ready(world: World) -> None:
    web = world.ready()
    assert states(world) == [WorkloadState.RUNNING]
    assert WORKTREE in world.git.worktrees
    assert web.status.attempt == 1
    assert web.status.workspace is not None
    assert web.status.workspace.path == WORKTREE
    assert web.status.session is not None
    assert display_state(web) == (DisplayState.IDLE, "Ready")
    assert [c.type for c in web.status.conditions if c.status.value == "True"] == [
        "WorkspaceReady",
        "WorkloadRunning",
        "SessionReady",
        "AgentHealthy",
        "Ready",
    ]


def test_a_settled_instance_causes_no_writes(world: World) -> None:
    world.ready()
    revision, changes = world.store.revision(), len(world.engine.changes)
    for _ in range(3):
        world.settle()
    assert (world.store.revision(), len(world.engine.changes)) == (revision, changes)


def test_the_container_sees_worktree_private_git_and_its_run_folder(world: World) -> None:
    web = world.ready()
    (container,) = world.engine.containers.values()
    targets = {mount.target: mount for mount in container.spec.mounts}
    assert targets["/run/cco"].read_only
    assert Path(targets["/run/cco"].source) == world.settings.instance_dir("web") / "run"
    assert WORKTREE in targets
    assert container.spec.user == (1000, 1000)
    assert container.spec.env == {}
    assert world.agents.configs[web.metadata.uid].session_id == web.metadata.uid


def test_a_killed_session_runs_again_with_the_same_container(world: World) -> None:
    web = world.ready()
    world.engine.crash(web.metadata.uid, 137)
    world.settle()
    after = world.get()
    assert states(world) == [WorkloadState.RUNNING]
    assert after.status.attempt == 1
    assert after.status.restarts == 1
    assert after.status.last_exit is not None
    assert after.status.last_exit.reason == "Killed"


def test_a_container_removed_by_hand_is_made_again_on_the_same_worktree(world: World) -> None:
    web = world.ready()
    world.git.worktrees[WORKTREE].dirty = "half a thought"
    world.engine.remove_by_hand(web.metadata.uid)
    world.settle()
    assert states(world) == [WorkloadState.RUNNING]
    assert world.get().status.attempt == 2
    assert world.git.worktrees[WORKTREE].dirty == "half a thought"


def test_a_paused_container_is_resumed(world: World) -> None:
    web = world.ready()
    world.engine.pause_by_hand(web.metadata.uid)
    world.settle()
    assert states(world) == [WorkloadState.RUNNING]


@pytest.mark.parametrize("asked", ["retry_generation", "restart_generation"])
def test_crashes_are_paced_and_end_in_gave_up_until_a_person_asks(asked: str, world: World) -> None:
    world.register()
    world.declare()
    world.engine.crash_on_start("web", 1)
    world.settle(until=lambda: world.condition("Ready").reason == "CrashLoop")
    starts = world.engine.changes.count("start web")
    assert starts == 6
    assert "cco retry web" in world.condition("Ready").message
    world.tick(3600)
    world.settle()
    assert world.engine.changes.count("start web") == starts, "gave up means gave up"
    world.engine.crash_on_start("web", None)
    world.change("web", **{asked: 1})
    world.settle()
    assert world.condition("Ready").status.value == "True"
    assert world.get().status.failures.count == 0


def test_the_first_crash_is_restarted_at_once_and_the_second_waits(world: World) -> None:
    web = world.ready()
    world.engine.crash(web.metadata.uid, 1)
    world.settle()
    assert states(world) == [WorkloadState.RUNNING]
    world.engine.crash(web.metadata.uid, 1)
    world.settle()
    assert world.condition("Ready").reason == "BackingOff"
    assert world.one_pass() == pytest.approx(10.0)
    world.tick(10.1)
    world.settle()
    assert states(world) == [WorkloadState.RUNNING]


def test_ten_healthy_minutes_forgive(world: World) -> None:
    web = world.ready()
    world.engine.crash(web.metadata.uid, 1)
    world.settle()
    assert world.get().status.failures.count == 1
    world.tick(601)
    world.settle()
    assert world.get().status.failures.count == 0
    world.engine.crash(web.metadata.uid, 1)
    world.settle()
    world.tick(601)
    world.engine.crash(web.metadata.uid, 1)
    world.settle()
    assert world.get().status.failures.count == 1, "the long run before the crash forgave the one before"


def test_out_of_memory_is_told_as_such(world: World) -> None:
    web = world.ready()
    world.engine.crash(web.metadata.uid, oom=True)
    world.settle()
    last = world.get().status.last_exit
    assert last is not None
    assert last.reason == "OOMKilled"
    assert "spec.resources.memory" in last.message


def test_a_clean_end_rests_where_the_policy_says_so(world: World) -> None:
    world.register()
    world.declare(restart_policy="OnFailure")
    world.settle()
    world.engine.crash(world.get().metadata.uid, 0)
    world.settle()
    assert display_state(world.get()) == (DisplayState.STOPPED, "Completed")
    world.change(restart_generation=1)
    world.settle()
    assert display_state(world.get())[0] is DisplayState.IDLE


def test_never_restarting_tells_how_it_ended(world: World) -> None:
    world.register()
    world.declare(restart_policy="Never")
    world.settle()
    world.engine.crash(world.get().metadata.uid, 2)
    world.settle()
    assert display_state(world.get()) == (DisplayState.ERROR, "ExitedWithError")


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_suspend_keeps_the_container_and_resume_starts_it(world: World, policy: str) -> None:
    world.register()
    world.declare(restart_policy=policy)
    world.settle()
    world.change(operating_mode="Suspended")
    world.settle()
    assert states(world) == [WorkloadState.EXITED]
    assert display_state(world.get()) == (DisplayState.STOPPED, "Suspended")
    world.change(operating_mode="Running")
    world.engine.fail_next("start")
    world.settle(until=lambda: states(world) == [WorkloadState.RUNNING])
    world.settle()
    assert world.get().status.attempt == 1
    assert world.get().status.failures.count == 0
    assert display_state(world.get())[0] is DisplayState.IDLE


def test_stop_removes_the_container_and_keeps_work_and_home(world: World) -> None:
    world.ready()
    world.change(operating_mode="Stopped")
    world.settle()
    assert states(world) == []
    assert WORKTREE in world.git.worktrees
    assert world.engine.homes
    assert display_state(world.get()) == (DisplayState.STOPPED, "Stopped")
    world.change(operating_mode="Running")
    world.settle()
    assert world.get().status.attempt == 2


def test_suspending_what_never_ran_is_satisfied(world: World) -> None:
    world.register()
    world.declare(operating_mode="Suspended")
    world.settle()
    assert states(world) == []
    assert display_state(world.get()) == (DisplayState.STOPPED, "Suspended")


def test_a_restart_is_done_once(world: World) -> None:
    world.ready()
    world.change(restart_generation=1)
    world.settle()
    world.settle()
    assert world.engine.changes.count("start web") == 2
    assert world.get().status.restarted_generation == 1


def test_changed_limits_apply_without_a_restart(world: World) -> None:
    world.ready()
    world.change(resources={"memory": "3Gi", "cpus": 2})
    world.settle()
    (container,) = world.engine.containers.values()
    assert container.seen.limits.memory == 3 * 1024**3
    assert world.engine.changes.count("start web") == 1


def test_a_changed_model_restarts_the_session_and_keeps_the_container(world: World) -> None:
    world.ready()
    world.change(model="opus")
    world.settle()
    assert world.get().status.attempt == 1
    assert world.engine.changes.count("start web") == 2
    assert world.agents.configs[world.get().metadata.uid].model == "opus"


def test_a_changed_image_replaces_the_container_when_the_turn_is_over(world: World) -> None:
    web = world.ready()
    world.engine.images["other:1"] = "sha256:" + "2" * 64
    world.agents.of(web.metadata.uid).state = "working"
    world.change(image="other:1")
    world.settle()
    assert world.get().status.attempt == 1, "a busy Claude is not disturbed"
    assert world.condition("Ready").reason == "Draining"
    assert world.condition("Ready").status.value == "True"
    world.agents.of(web.metadata.uid).state = "idle"
    world.settle()
    assert world.get().status.attempt == 2
    assert states(world) == [WorkloadState.RUNNING]


def test_drift_of_a_stopped_container_replaces_it_at_the_next_start(world: World) -> None:
    world.ready()
    world.change(operating_mode="Suspended")
    world.settle()
    world.engine.images["other:1"] = "sha256:" + "2" * 64
    world.change(image="other:1", operating_mode="Running")
    world.settle()
    assert [c.spec.image for c in world.engine.containers.values()] == ["other:1"]


def test_commits_come_home_when_the_agent_says_so(world: World) -> None:
    web = world.ready()
    world.git.worktrees[WORKTREE].commits.append("c1")
    world.agents.of(web.metadata.uid).refs_version = "refs-1"
    world.settle()
    assert world.git.branches["web"] == ["c1"]
    status = world.get().status.workspace
    assert status is not None
    assert (status.head, status.collected_refs, status.ahead) == ("c1", "refs-1", 1)


def test_commits_that_cannot_come_home_hold_up_nothing_else(world: World) -> None:
    web = world.ready()
    agent = world.agents.of(web.metadata.uid)
    agent.refs_version = "refs-1"
    sent = world.store.inputs.create("web", web.metadata.uid, "go on")
    for _ in range(4):
        world.git.fail_next("collect", Terminal("CommitsDamaged", "an object is not what its name says"))
        world.one_pass()
    assert world.store.inputs.get(sent.id).state is InputState.ACCEPTED
    assert (world.condition("Ready").status.value, world.condition("Ready").reason) == ("True", "CommitsDamaged")
    assert display_state(world.get())[0] is DisplayState.IDLE
    world.settle()
    assert world.condition("Ready").reason == "Ready"


def test_divergence_is_told_and_does_not_stop_anything(world: World) -> None:
    world.ready()
    world.git.diverged.add("web")
    world.settle()
    assert world.condition("Ready").status.value == "True"
    assert world.condition("Ready").reason == "Diverged"


def test_a_prompt_waits_for_idle_and_is_acknowledged(world: World) -> None:
    web = world.ready()
    agent = world.agents.of(web.metadata.uid)
    agent.state, agent.waiting_for = "waiting", "permission prompt"
    sent = world.store.inputs.create("web", web.metadata.uid, "hello")
    world.settle()
    assert world.store.inputs.get(sent.id).state is InputState.PENDING
    assert agent.handed_over == []
    agent.waiting_for = "input needed"
    world.settle()
    assert world.store.inputs.get(sent.id).state is InputState.ACCEPTED


def test_prompts_go_one_by_one_in_order(world: World) -> None:
    web = world.ready()
    sent = [world.store.inputs.create("web", web.metadata.uid, text).id for text in ("one", "two", "three")]
    world.settle()
    assert world.agents.of(web.metadata.uid).handed_over == sent
    assert world.store.inputs.pending(web.metadata.uid) == []


def test_a_prompt_to_a_broken_connection_is_handed_over_again(world: World) -> None:
    web = world.ready()
    agent = world.agents.of(web.metadata.uid)
    agent.connected = False
    sent = world.store.inputs.create("web", web.metadata.uid, "hello")
    world.settle()
    assert world.store.inputs.get(sent.id).state is InputState.PENDING
    agent.connected = True
    world.settle()
    assert world.store.inputs.get(sent.id).state is InputState.ACCEPTED


def test_where_worktrees_go_is_a_setting(world: World) -> None:
    world.settings = world.settings.model_copy(update={"worktree_base_path": Path("/big/disk")})
    world.ready()
    assert set(world.git.worktrees) == {"/big/disk/shop/web"}


def test_what_happened_is_told_as_events(world: World) -> None:
    world.ready()
    reasons = world.event_reasons()
    assert {"WorkspaceCreated", "WorkloadCreated", "Ready"} <= set(reasons)
