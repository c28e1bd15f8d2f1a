"""What keeps a failing fleet from making things worse: turns, the brake, the disk, deadlines, and a person's retry."""

from __future__ import annotations

import pytest

from controller.reconcile.brake import BRAKE_AFTER
from controller.reconcile.exits import MAX_FAILURES
from controller.reconcile.observed import DiskVerdict
from controller.reconcile.pacing import TURN_SECONDS, StartTurns, default_turns
from controller.resources.explain import explain
from controller.runtime.protocol import WorkloadState
from support.world import World

GIBIBYTE = 1024**3


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
    assert world.readiness("web-2") == ("False", "StartQueued")
    assert "2 start at a time" in explain(world.get("web-4"))
    world.agents.of(world.get("web-0").metadata.uid).state = "idle"
    world.woken.clear()
    world.settle("web-0")
    assert world.woken == ["web-2"], "the next in line is woken, and nobody else"
    world.settle("web-4")
    assert not running(world, "web-4"), "nobody overtakes"
    world.settle("web-2")
    assert running(world, "web-2")


def test_one_that_cannot_be_looked_at_leaves_the_line(world: World) -> None:
    world.new_process(start_turns=1)
    declare_all(world, "web", "api", "shop")
    world.agents.of(world.get("web").metadata.uid).state = "starting"
    for name in ("web", "api", "shop"):
        world.settle(name)
    assert world.readiness("api") == world.readiness("shop") == ("False", "StartQueued")
    world.agents.of(world.get("web").metadata.uid).state = "idle"
    world.settle("web")
    world.git.fail_next("inspect")
    world.one_pass("api")
    assert world.readiness("api")[0] == "Unknown"
    world.settle("shop")
    assert world.readiness("shop") == ("True", "Ready")


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
    assert world.readiness() == ("True", "StartQueued")
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
    assert world.readiness() == ("False", "StartQueued")
    world.turns.end("other")
    assert world.woken == ["web"]
    world.settle()
    assert running(world, "web")


def test_what_failed_and_waits_for_its_next_turn_is_told_as_failed(world: World) -> None:
    world.new_process(start_turns=1)
    world.register()
    world.declare("web", image="nowhere:1")
    world.settle("web")
    assert world.readiness() == ("False", "ImageNotFound")
    world.turns.take("other")
    world.settle("web")
    assert world.readiness() == ("False", "ImageNotFound")
    world.change("web", image="there:1")
    world.engine.images["there:1"] = "sha256:" + "3" * 64
    world.settle("web")
    assert world.readiness() == ("False", "StartQueued"), "another spec has not failed yet"
    world.turns.end("other")
    world.settle("web")
    assert world.readiness() == ("True", "Ready")


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
    assert world.readiness("new") == ("False", "FleetBrake")
    assert "3 instances failed in the same way (ExitedWithError" in world.condition("Ready", "new").message
    assert "web-0 is tried next" in explain(world.get("new"))
    assert world.one_pass("new") == pytest.approx(60, abs=5)
    world.tick(61)
    world.engine.crash_on_start("web-0", None)
    starts = len([change for change in world.engine.changes if change.startswith("start")])
    for name in ("web-1", "web-2", "new", "web-0"):
        world.settle(name)
    assert len([change for change in world.engine.changes if change.startswith("start")]) == starts + 1, "one probe"
    assert world.readiness("web-0") == ("True", "Ready")
    world.settle("new")
    assert world.readiness("new") == ("True", "Ready")


def test_a_probe_that_fails_is_the_reason_to_wait_again(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names, "new")
    fail(world, *names)
    world.tick(61)
    for name in ("web-0", "web-0", "new"):
        world.settle(name)
    assert world.readiness("new") == ("False", "FleetBrake")
    assert "web-1 is tried next" in world.condition("Ready", "new").message


def test_one_that_gave_up_is_no_probe(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names, "new")
    world.engine.crash_on_start("web-0", 1)
    for _ in range(MAX_FAILURES):
        world.settle("web-0")
        world.tick(90)
    assert world.readiness("web-0") == ("False", "CrashLoop")
    fail(world, *names[1:])
    world.settle("new")
    assert "web-1 is tried next" in world.condition("Ready", "new").message
    world.tick(61)
    world.engine.crash_on_start("web-1", None)
    for name in ("web-2", "web-1", "new"):
        world.settle(name)
    assert [world.readiness(name)[1] for name in (*names, "new")] == ["CrashLoop", "Ready", "FleetBrake", "Ready"]


def test_one_that_does_not_take_its_turn_holds_up_nobody_for_long(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names, "new")
    fail(world, *names)
    world.tick(61)
    assert world.brake.holds("web-1", world.now) is not None
    world.tick(60)
    held = world.brake.holds("web-2", world.now)
    assert held is not None
    assert "web-1 is tried next" in held.message
    assert world.brake.holds("web-1", world.now) is None
    assert world.brake.holds("new", world.now) is not None
    world.tick(120)
    assert world.brake.holds("new", world.now) is None, "none of them tries"


def test_where_all_gave_up_the_next_one_is_tried(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names, "new")
    fail(world, *names)
    for name in names:
        given_up = world.get(name)
        record = given_up.status.failures.model_copy(update={"count": MAX_FAILURES, "last_at": world.now})
        world.brake.saw(given_up, given_up.status.model_copy(update={"failures": record}))
    held = world.brake.holds("new", world.now)
    assert held is not None
    assert "tried next" not in held.message
    world.tick(61)
    assert world.brake.holds("new", world.now) is None


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
    assert world.readiness("new") == ("False", "FleetBrake")
    world.tick(61)
    world.engine.crash_on_start("web-3", None)
    world.change("web-3", retry_generation=1)
    world.settle("web-3")
    world.settle("new")
    assert world.readiness("new") == ("True", "Ready")


def test_a_person_may_try_in_spite_of_the_brake(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names)
    fail(world, *names)
    world.engine.crash_on_start("web-2", None)
    world.change("web-2", retry_generation=1)
    world.settle("web-2")
    assert world.readiness("web-2") == ("True", "Ready")
    assert world.get("web-2").status.retried_generation == 1


def test_a_few_that_fail_among_many_that_are_well_brake_nobody(world: World) -> None:
    well = [f"good-{number}" for number in range(BRAKE_AFTER)]
    bad = [f"bad-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *well, *bad, "new")
    for name in well:
        world.settle(name)
    fail(world, *bad)
    world.settle("new")
    assert world.readiness("new") == ("True", "Ready")


def test_different_failures_and_old_ones_brake_nobody(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER)]
    declare_all(world, *names, "new", "newer")
    fail(world, *names[1:])
    world.engine.crash_on_start("web-0", 137)
    world.settle("web-0")
    world.settle("new")
    assert world.readiness("new") == ("True", "Ready")
    world.change("new", operating_mode="Stopped")
    world.settle("new")
    fail(world, "web-0")
    world.tick(3600)
    world.settle("newer")
    assert world.readiness("newer") == ("True", "Ready")


def test_a_power_cut_brakes_nobody(world: World) -> None:
    names = [f"web-{number}" for number in range(BRAKE_AFTER + 3)]
    declare_all(world, *names)
    for name in names:
        world.settle(name)
        world.engine.crash(world.get(name).metadata.uid, 255)
    world.new_process()
    for name in names:
        world.agents.of(world.get(name).metadata.uid).state = "starting"
        world.one_pass(name)
    assert [running(world, name) for name in names] == [True] * len(names)


# The disk ---------------------------------------------------------------------------------------------------------


def test_an_instance_that_holds_more_than_it_may_is_parked_and_loses_nothing(world: World) -> None:
    web = world.ready()
    world.agents.of(web.metadata.uid).worktree_bytes = 21 * GIBIBYTE
    world.settle()
    assert not running(world, "web")
    assert world.readiness() == ("False", "DiskExceeded")
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
    assert world.readiness() == ("True", "Ready")
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
    assert world.readiness() == ("False", "DiskPressure")
    assert world.readiness("api") == ("False", "DiskPressure")
    assert world.one_pass("api") == pytest.approx(10.0)
    world.disk_full = None
    world.disk.clear()
    world.settle("api")
    world.settle("web")
    assert world.readiness("api") == ("True", "Ready")
    assert world.readiness() == ("False", "DiskPressure"), "it is parked until a person says otherwise"
    world.change(retry_generation=1)
    world.settle()
    assert world.readiness() == ("True", "Ready")


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
    assert world.readiness() == ("True", "Ready")
    world.agents.of(web.metadata.uid).oom_kills = 0
    world.change(restart_generation=1)
    world.settle()
    assert world.get().status.oom_kills == 0
