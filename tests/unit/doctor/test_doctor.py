"""The controller's doctor over a whole world with a fake engine: what is looked at when, and the one repair."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controller.doctor.doctor import Doctor
from controller.doctor.examination import Examiner
from controller.errors import Conflict
from controller.reconcile.observed import Pace
from controller.resources import InstanceManifest, ManifestMetadata
from controller.resources.check import CATALOGUE, Check, CheckStatus
from controller.resources.instance import InstanceSpec
from controller.resources.orphan import NotLookedAt, OrphanList
from controller.runtime.choice import Runtimes, only
from support.deadline import eventually
from support.fake_engine_view import FakeEngineView
from support.fake_runtime import FakeRuntime
from support.world import World

ENGINE_CHECKS = {"engine", "engine-limits", "engine-security", "live-restore", "image", "network"}
BY_OTHERS = {
    *("configuration", "state-directory", "token", "leftovers", "docker", "compose", "buildx", "git", "tmux"),
    *("terminal", "port", "server", "versions", "clock-difference", "controller"),
}


BLIND = NotLookedAt(part="runtime docker", reason="RuntimeUnavailable", message="it does not answer")
"""Said by the orphans' survey in all tests here."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def view(world: World) -> FakeEngineView:
    return FakeEngineView(world.engine)


def make(world: World, view: FakeEngineView, runtimes: Runtimes | None = None, deadline: float = 4.0) -> Doctor:
    return Doctor(
        settings=world.settings,
        store=world.store,
        runtimes=runtimes or only(FakeRuntime(world.engine)),
        workspaces=world.workspaces(),
        engine=lambda: view,
        programs=lambda: None,
        credentials=lambda: {"ANTHROPIC_API_KEY": "sk-ant-very-secret"},
        heard=world.agents.all_heard,
        orphans=lambda: OrphanList(skipped=(BLIND,)),
        examiner=Examiner(deadline),
    )


def by_name(doctor: Doctor) -> dict[str, Check]:
    return {check.name: check for check in doctor.examine().checks}


def test_everything_of_the_catalogue_is_looked_at_here_or_by_others(world: World, view: FakeEngineView) -> None:
    world.engine.networks.add("cco")
    found = by_name(make(world, view))
    assert set(found) == {kind.name for kind in CATALOGUE} - BY_OTHERS - {"process"}
    assert {name for name, check in found.items() if check.status is not CheckStatus.OK} == {"orphans"}, found


def test_no_secret_is_told_and_nothing_is_changed(world: World, view: FakeEngineView) -> None:
    world.register()
    world.declare()
    before = world.store.revision()
    assert "very-secret" not in make(world, view).examine().model_dump_json()
    assert world.store.revision() == before
    assert world.engine.changes == []


def test_an_engine_that_nobody_needs_is_not_looked_at(world: World, view: FakeEngineView) -> None:
    runtime = FakeRuntime(world.engine)
    doctor = make(world, view, Runtimes("process", {"process": lambda: runtime, "docker": lambda: runtime}))
    found = by_name(doctor)
    assert (ENGINE_CHECKS | {"process"}) & set(found) == {"process"}
    assert found["orphans"].status is CheckStatus.OK, "nobody needs the engine that could not be looked at"
    assert doctor.ping_engine() is None
    assert view.looks == 0


def test_one_instance_that_needs_an_engine_is_enough(world: World, view: FakeEngineView) -> None:
    runtime = FakeRuntime(world.engine)
    doctor = make(world, view, Runtimes("process", {"process": lambda: runtime, "docker": lambda: runtime}))
    world.register()
    world.declare(runtime="docker", image="mine:1")
    found = by_name(doctor)
    assert set(found) >= ENGINE_CHECKS | {"process"}
    assert "mine:1" in found["image"].message


def test_an_agent_is_silent_when_the_loop_says_so(world: World, view: FakeEngineView) -> None:
    world.register()
    uid = world.declare().metadata.uid
    world.settle()
    silent_after = Pace(world.settings.heartbeat_seconds).silent_after
    doctor = make(world, view)
    world.agents.of(uid).age = silent_after - 0.1
    assert by_name(doctor)["agents"].message == "1 agent reporting"
    world.agents.of(uid).age = silent_after
    assert by_name(doctor)["agents"].status is CheckStatus.WARN


def test_an_engine_that_is_away_fails_and_the_rest_goes_on(world: World, view: FakeEngineView) -> None:
    world.engine.go_away()
    found = by_name(make(world, view))
    assert found["engine"].status is CheckStatus.FAIL
    assert all(found[name].status is CheckStatus.UNKNOWN for name in ENGINE_CHECKS - {"engine"})
    assert all(found[name].status is CheckStatus.OK for name in ("disk", "memory", "cpus", "database", "repositories"))


def test_an_engine_that_hangs_is_unknown_and_the_rest_goes_on(world: World, view: FakeEngineView) -> None:
    view.released = threading.Event()
    doctor = make(world, view, deadline=2.5)
    try:
        found = by_name(doctor)
        assert found["engine"].status is CheckStatus.UNKNOWN
        assert all(found[name].status is CheckStatus.OK for name in ("disk", "memory", "cpus", "database"))
        assert "has not come back" in by_name(doctor)["engine"].message
    finally:
        view.released.set()


def test_callers_at_the_same_time_share_a_look(world: World, view: FakeEngineView) -> None:
    doctor = make(world, view)
    with ThreadPoolExecutor(8) as pool:
        diagnoses = list(pool.map(lambda _: doctor.examine(), range(8)))
    assert len({id(each) for each in diagnoses}) < 8
    assert all(each.checks for each in diagnoses)


def test_the_engine_is_not_pinged_for_every_caller(world: World, view: FakeEngineView) -> None:
    doctor = make(world, view)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: doctor.ping_engine(), range(20)))
    assert all(answer is not None and answer.status is CheckStatus.OK for answer in answers)
    assert view.looks <= 2
    world.engine.go_away()
    eventually(
        lambda: (told := doctor.ping_engine()) is not None and told.status is CheckStatus.FAIL,
        timeout=20,
        what="it is told that the engine went away",
    )


def test_a_damaged_database_fails(world: World, view: FakeEngineView) -> None:
    doctor = make(world, view)
    path = world.settings.database
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 200] = b"\xff" * 200
    with path.open("r+b") as file:
        file.write(data)
    found = by_name(doctor)
    assert found["database"].status is CheckStatus.FAIL
    assert found["engine"].status in {CheckStatus.OK, CheckStatus.UNKNOWN}


def test_the_missing_network_is_made_and_nothing_else(world: World, view: FakeEngineView) -> None:
    doctor = make(world, view)
    (repair,) = doctor.repair().repairs
    assert (repair.check, repair.done) == ("network", True)
    assert world.engine.changes == ["network cco"]
    assert doctor.repair().repairs == ()
    assert world.engine.changes == ["network cco"]


def test_a_network_that_is_not_ours_is_left_alone(world: World, view: FakeEngineView) -> None:
    view.trouble = Conflict("NetworkConflict", "it is not ours")
    assert make(world, view).repair().repairs == ()
    assert world.engine.changes == []


def test_a_repair_that_fails_says_so(world: World, view: FakeEngineView) -> None:
    world.engine.fail_next("prepare")
    (repair,) = make(world, view).repair().repairs
    assert not repair.done
    assert "engine" in repair.message


def test_an_instance_that_is_unwell_is_named(world: World, view: FakeEngineView) -> None:
    spec = InstanceSpec(repository="shop")
    world.store.instances.create(InstanceManifest(metadata=ManifestMetadata(name="web"), spec=spec))
    assert by_name(make(world, view))["instances"].message == "1 STARTING"
