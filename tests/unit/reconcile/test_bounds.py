"""What keeps a failing fleet from making things worse: turns, the brake, the disk, deadlines, and a person's retry."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.errors import Fenced, Retryable
from controller.reconcile.brake import BRAKE_AFTER
from controller.reconcile.deadlines import DEADLINES
from controller.reconcile.observed import DiskVerdict
from controller.reconcile.pacing import TURN_SECONDS, StartTurns, default_turns
from controller.resources import ConditionStatus, Instance
from controller.resources.explain import explain
from controller.resources.instance import TRANSITIONAL_REASONS
from controller.runtime.protocol import WorkloadState
from support.world import REPOSITORY_PATH, World

GIBIBYTE = 1024**3


def ready(world: World, name: str = "web") -> tuple[str, str]:
    condition = world.condition("Ready", name)
    return str(condition.status), condition.reason


def running(world: World, name: str) -> bool:
    containers = world.engine.of_uid(world.get(name).metadata.uid)
    return any(container.seen.state is WorkloadState.RUNNING for container in containers)


# Turns ------------------------------------------------------------------------------------------------------------


def declare_all(world: World, *names: str) -> None:
    world.register()
    for name in names:
        world.declare(name)


def test_so_many_start_at_a_time_and_the_others_wait_their_turn(world: World) -> None:
    world.new_process(start_turns=2)
    names = [f"web-{number}" for number in range(5)]
    declare_all(world, *names)
    for name in names:
        world.agents.of(world.get(name).metadata.uid).state = "starting"
        world.settle(name)
    assert [running(world, name) for name in names] == [True, True, False, False, False]
    assert ready(world, "web-2") == ("False", "StartQueued")
    assert "2 start at a time" in explain(world.get("web-4"))
    world.agents.of(world.get("web-0").metadata.uid).state = "idle"
    world.woken.clear()
    world.settle("web-0")
    assert world.woken == ["web-2"], "the next in line is woken, and nobody else"
    world.settle("web-4")
    assert not running(world, "web-4"), "nobody overtakes"
    world.settle("web-2")
    assert running(world, "web-2")


def test_a_restart_that_has_to_wait_leaves_the_session_at_work(world: World) -> None:
    world.new_process(start_turns=1)
    declare_all(world, "web", "api")
    for name in ("web", "api"):
        world.settle(name)
    world.agents.of(world.get("api").metadata.uid).state = "starting"
    world.change("api", restart_generation=1)
    world.settle("api")
    world.change("web", restart_generation=1)
    world.settle("web")
    assert ready(world) == ("True", "StartQueued")
    assert running(world, "web")
    world.agents.of(world.get("api").metadata.uid).state = "idle"
    world.settle("api")
    world.settle("web")
    assert world.get().status.restarted_generation == 1


def test_a_turn_that_was_taken_since_the_plan_was_made_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.new_process(start_turns=1)
    declare_all(world, "web")
    world.turns.take("other")
    with monkeypatch.context() as patched:
        patched.setattr(world.turns, "queue", lambda _: None)  # the plan sees a place
        assert world.one_pass() == pytest.approx(10.0)
    assert ready(world) == ("False", "StartQueued")
    world.turns.end("other")
    assert world.woken == ["web"]
    world.settle()
    assert running(world, "web")


def test_what_failed_and_waits_for_its_next_turn_is_told_as_failed(world: World) -> None:
    world.new_process(start_turns=1)
    world.register()
    world.declare("web", image="nowhere:1")
    world.settle("web")
    assert ready(world) == ("False", "ImageNotFound")
    world.turns.take("other")
    world.settle("web")
    assert ready(world) == ("False", "ImageNotFound")
    world.change("web", image="there:1")
    world.engine.images["there:1"] = "sha256:" + "3" * 64
    world.settle("web")
    assert ready(world) == ("False", "StartQueued"), "another spec has not failed yet"
    world.turns.end("other")
    world.settle("web")
    assert ready(world) == ("True", "Ready")


def test_a_turn_ends_with_its_time_and_with_its_instance() -> None:
    now = [0.0]
    woken: list[str] = []
    turns = StartTurns(1, woken.append, clock=lambda: now[0])
    assert turns.take("web")
    assert turns.take("web"), "it has its turn already"
    assert not turns.take("api")
    turns.stand_in_line("shop")
    assert turns.queue("other") == "1 instances are starting and 2 wait before it; 1 start at a time"
    now[0] = TURN_SECONDS
    assert turns.take("api")
    turns.end("shop")
    turns.end("shop")
    turns.end("api")
    assert woken == []


def test_two_starts_for_each_core() -> None:
    assert default_turns() >= 2
    assert default_turns() % 2 == 0


def test_an_instance_that_is_gone_gives_its_turn_back(world: World) -> None:
    world.new_process(start_turns=1)
    declare_all(world, "web", "api")
    world.agents.of(world.get("web").metadata.uid).state = "starting"
    world.settle("web")
    world.settle("api")
    world.store.instances.request_deletion("web")
    world.settle("web")
    assert world.gone("web")
    assert "api" in world.woken
    world.settle("api")
    assert world.turns.take("gone")
    assert world.turns.queue("other") is not None
    assert world.one_pass("gone") is None
    assert world.turns.queue("other") is None


# The brake --------------------------------------------------------------------------------------------------------


def fail(world: World, *names: str) -> None:
    """Let each one fail so often that it is paced."""
    for name in names:
        world.engine.crash_on_start(name, 1)
        world.settle(name)
        world.settle(name)


def test_equal_failures_of_most_of_the_fleet_stop_starts_until_one_succeeds(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names, "new")
    fail(world, *names)
    world.settle("new")
    assert ready(world, "new") == ("False", "FleetBrake")
    assert "3 instances failed in the same way (ExitedWithError" in world.condition("Ready", "new").message
    assert "web-0 is tried next" in explain(world.get("new"))
    assert world.one_pass("new") == pytest.approx(60, abs=5)
    world.tick(61)
    world.engine.crash_on_start("web-0", None)
    starts = len([change for change in world.engine.changes if change.startswith("start")])
    for name in ("web-1", "web-2", "new", "web-0"):
        world.settle(name)
    assert len([change for change in world.engine.changes if change.startswith("start")]) == starts + 1, "one probe"
    assert ready(world, "web-0") == ("True", "Ready")
    world.settle("new")
    assert ready(world, "new") == ("True", "Ready")


def test_a_probe_that_fails_is_the_reason_to_wait_again(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names, "new")
    fail(world, *names)
    world.tick(61)
    for name in ("web-0", "web-0", "new"):
        world.settle(name)
    assert ready(world, "new") == ("False", "FleetBrake")
    assert "web-1 is tried next" in world.condition("Ready", "new").message


def test_one_success_lets_everybody_try(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER + 2)]
    declare_all(world, *names, "new")
    for name in names:
        world.settle(name)
    for name in names:
        world.engine.crash_on_start(name, 1)
        world.engine.crash(world.get(name).metadata.uid, 1)
    for name in names * 2:
        world.settle(name)
    world.settle("new")
    assert ready(world, "new") == ("False", "FleetBrake")
    world.tick(61)
    world.engine.crash_on_start("web-3", None)
    world.change("web-3", retry_generation=1)
    world.settle("web-3")
    world.settle("new")
    assert ready(world, "new") == ("True", "Ready")


def test_a_person_may_try_in_spite_of_the_brake(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names)
    fail(world, *names)
    world.engine.crash_on_start("web-2", None)
    world.change("web-2", retry_generation=1)
    world.settle("web-2")
    assert ready(world, "web-2") == ("True", "Ready")
    assert world.get("web-2").status.retried_generation == 1


def test_a_few_that_fail_among_many_that_are_well_brake_nobody(world: World) -> None:
    well = [f"good-{number}" for number in range(BRAKE_AFTER)]
    bad = [f"bad-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *well, *bad, "new")
    for name in well:
        world.settle(name)
    fail(world, *bad)
    world.settle("new")
    assert ready(world, "new") == ("True", "Ready")


def test_different_failures_and_old_ones_brake_nobody(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names, "new", "newer")
    fail(world, *names[1:])
    world.engine.crash_on_start("web-0", 137)
    world.settle("web-0")
    world.settle("new")
    assert ready(world, "new") == ("True", "Ready")
    world.change("new", operating_mode="Stopped")
    world.settle("new")
    fail(world, "web-0")
    world.tick(3600)
    world.settle("newer")
    assert ready(world, "newer") == ("True", "Ready")


# The disk ---------------------------------------------------------------------------------------------------------


def test_an_instance_that_holds_more_than_it_may_is_parked_and_loses_nothing(world: World) -> None:
    web = world.ready()
    world.agents.of(web.metadata.uid).worktree_bytes = 21 * GIBIBYTE
    world.settle()
    assert not running(world, "web")
    assert ready(world) == ("False", "DiskExceeded")
    assert "hold 21504 MiB, and spec.resources.disk allows 20480 MiB" in explain(world.get())
    assert "cco retry web" in explain(world.get())
    assert "Parked" in world.event_reasons()
    parked = world.get().status.parked
    assert parked is not None
    world.new_process()
    world.settle()
    assert world.get().status.parked == parked, "a restart of the controller changes nothing"
    world.agents.of(web.metadata.uid).worktree_bytes = None
    world.change(resources={"disk": "40Gi"})
    world.settle()
    assert ready(world) == ("True", "Ready")
    assert world.get().status.parked is None


def test_one_that_was_started_by_hand_while_parked_is_stopped(world: World) -> None:
    web = world.ready()
    world.agents.of(web.metadata.uid).worktree_bytes = 21 * GIBIBYTE
    world.settle()
    world.engine.run(world.engine.of_uid(web.metadata.uid)[0])
    world.settle()
    assert not running(world, "web")


def test_the_one_that_fills_the_disk_is_parked_and_starts_are_held(world: World) -> None:
    web = world.ready()
    world.declare("api")
    world.disk_full = "the disk of /state is 95% full"
    world.disk[web.metadata.uid] = DiskVerdict(world.disk_full, "it holds most of a full disk")
    world.settle("web")
    world.settle("api")
    assert ready(world) == ("False", "DiskPressure")
    assert ready(world, "api") == ("False", "DiskPressure")
    assert world.one_pass("api") == pytest.approx(10.0)
    world.disk_full = None
    world.disk.clear()
    world.settle("api")
    world.settle("web")
    assert ready(world, "api") == ("True", "Ready")
    assert ready(world) == ("False", "DiskPressure"), "it is parked until a person says otherwise"
    world.change(retry_generation=1)
    world.settle()
    assert ready(world) == ("True", "Ready")


# Out of memory inside ---------------------------------------------------------------------------------------------


def test_a_process_killed_for_want_of_memory_is_told_once_while_claude_lives(world: World) -> None:
    web = world.ready()
    world.agents.of(web.metadata.uid).oom_kills = 1
    world.settle()
    world.settle()
    told = [event for event in world.store.events.list(name="web") if event.reason == "OOMKilled"]
    assert len(told) == 1
    assert told[0].count == 1
    assert "2Gi allowed" in told[0].message
    assert ready(world) == ("True", "Ready")
    world.agents.of(web.metadata.uid).oom_kills = 0
    world.change(restart_generation=1)
    world.settle()
    assert world.get().status.oom_kills == 0


# Deadlines --------------------------------------------------------------------------------------------------------


def test_everything_on_the_way_has_a_deadline() -> None:
    assert set(DEADLINES) == set(TRANSITIONAL_REASONS)


def test_a_stop_that_does_not_end_is_told_as_late_and_still_tried(world: World) -> None:
    world.register()
    web = world.declare()
    world.agents.of(web.metadata.uid).state = "starting"
    world.settle()
    assert ready(world) == ("False", "StartingSession")
    late = DEADLINES["StartingSession"].total_seconds()
    assert world.one_pass() == pytest.approx(180, abs=1), "the restart of the session comes first"
    step = world.get().status.transition
    assert step is not None
    assert step.reason == "StartingSession"
    world.agents.listening = 0.0  # nothing is concluded from silence by one who has only just begun to listen
    world.tick(late)
    world.settle()
    assert ready(world) == ("False", "DeadlineExceeded")
    assert "StartingSession takes longer than 5 min" in explain(world.get())
    assert "DeadlineExceeded" in world.event_reasons()
    world.agents.of(web.metadata.uid).state = "idle"
    world.settle()
    assert ready(world) == ("True", "Ready")
    assert world.get().status.transition is None


def test_a_drain_that_lasts_is_told_and_stays_ready(world: World) -> None:
    web = world.ready()
    world.agents.of(web.metadata.uid).state = "working"
    world.change(model="opus")
    world.settle()
    assert ready(world) == ("True", "Draining")
    world.tick(DEADLINES["Draining"].total_seconds())
    world.settle()
    assert ready(world) == ("True", "DeadlineExceeded")
    assert "'cco restart web' makes it now" in world.condition("Ready").message


def test_a_clock_that_was_set_back_holds_up_nothing(world: World) -> None:
    web = world.ready()
    for _ in range(2):
        world.engine.crash(web.metadata.uid, 1)
        world.settle()
    assert ready(world) == ("False", "BackingOff")
    before = world.get().status.transition
    world.now -= timedelta(days=1)
    world.settle()
    assert ready(world)[1] in {"Ready", "StartingSession"}
    assert before is not None


def test_what_cannot_be_written_down_holds_up_no_stop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Retryable("DiskFull", "the disk is full")

    world.ready()
    monkeypatch.setattr(type(world.manifests), "remember", refuse)
    world.change(operating_mode="Stopped")
    world.settle()
    assert ready(world) == ("False", "Stopped")
    world.change(operating_mode="Running")
    world.one_pass()
    assert ready(world) == ("False", "DiskFull"), "but nothing is started that would not be known after a loss"


def test_a_clock_that_jumps_restarts_nothing(world: World) -> None:
    world.ready()
    starts = world.engine.changes.count("start web")
    for days in (1, -2, 1):
        world.now += timedelta(days=days)
        world.settle()
    assert world.engine.changes.count("start web") == starts


# Giving work up ---------------------------------------------------------------------------------------------------


def delete(world: World, *, discard: bool, name: str = "web") -> Instance:
    return world.store.instances.request_deletion(name, discard_work=discard)


def dirty(world: World) -> None:
    worktree = world.git.worktrees[f"{REPOSITORY_PATH}.worktrees/web"]
    worktree.dirty = "dirt"


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
    assert ready(world)[0] == ConditionStatus.UNKNOWN
    delete(world, discard=True)
    world.settle(until=world.gone)
    assert "WorkDiscarded" in world.event_reasons()
    assert world.git.worktrees == {}


def test_one_who_was_replaced_gives_nothing_up(world: World) -> None:
    world.ready()
    dirty(world)
    world.git.fail_next("snapshot", Fenced("Fenced", "another controller has taken over"))
    delete(world, discard=True)
    world.one_pass()
    assert "WorkDiscarded" not in world.event_reasons()
    assert world.git.worktrees


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
    assert ready(world) == ("False", "RepositoryNotFound")
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
    assert ready(world) == ("False", "WorkloadLost")
    assert world.engine.of_uid(web.metadata.uid) != []
