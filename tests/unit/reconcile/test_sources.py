"""What each source puts on the queue: over the real store, and over the runtime's fake."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.errors import Conflict
from controller.reconcile import sources
from controller.reconcile.loop import Request, Source
from controller.reconcile.sources import ResyncSource, RuntimeSource, StoreSource
from controller.reconcile.workqueue import Workqueue
from controller.resources import Kind
from controller.runtime.choice import Runtimes, only
from controller.runtime.protocol import Limits, WorkloadSpec
from controller.store import Store
from controller.store.changes import RevisionGone
from support.fake_engine import IMAGE, FakeEngine
from support.fake_runtime import FakeRuntime
from support.world import World

LONGEST_SECONDS = 10.0
A_MOMENT = 0.1


class Told:
    """What a running source has announced."""

    def __init__(self) -> None:
        self.queue: Workqueue[Request] = Workqueue()

    def names(self, count: int) -> list[str]:
        """Wait for so many announcements."""
        found: list[str] = []
        for _ in range(count):
            request = self.queue.get(LONGEST_SECONDS)
            assert request is not None, f"only {found} were announced"
            self.queue.done(request)
            found.append(request.name)
        return sorted(found)

    def nothing(self) -> bool:
        return self.queue.get(A_MOMENT) is None


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a source that waits for the store see the stop soon."""
    monkeypatch.setattr(sources, "POLL_SECONDS", 0.02)


@contextmanager
def running(source: Source) -> Iterator[Told]:
    told, stop = Told(), threading.Event()
    thread = threading.Thread(target=source.run, args=(told.queue, stop), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(1.0)
        assert not thread.is_alive(), "a source ends within a second of the stop"


# The store -----------------------------------------------------------------------------------------------------


def instances(world: World) -> StoreSource:
    return StoreSource(
        world.store, Kind.INSTANCE, lambda: [each.metadata.name for each in world.store.instances.list()]
    )


def test_the_store_announces_everything_once_and_then_what_was_declared(world: World) -> None:
    world.register()
    world.declare("web")
    world.declare("api")
    with running(instances(world)) as told:
        assert told.names(2) == ["api", "web"]
        world.declare("new")
        assert told.names(1) == ["new"], "and not the others, and not the repository"


def delete(world: World) -> None:
    world.store.instances.request_deletion("web")
    world.store.instances.purge(world.get().metadata.uid)


CHANGES: dict[str, tuple[Callable[[World], object], bool]] = {
    "a changed spec": (lambda world: world.change(model="opus"), True),
    "a wish to delete": (lambda world: world.store.instances.request_deletion("web"), True),
    "a prompt": (lambda world: world.store.inputs.create("web", world.get().metadata.uid, "go on"), True),
    "a row that is gone": (delete, True),
    "what the controller wrote itself": (
        lambda world: world.store.instances.update_status(
            world.get().metadata.uid, world.get().status.model_copy(update={"restarts": 7})
        ),
        False,
    ),
    "a repository": (lambda world: world.register("other", "/repositories/other"), False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_store_announces(name: str, world: World) -> None:
    change, announced = CHANGES[name]
    world.register()
    world.declare("web")
    with running(instances(world)) as told:
        told.names(1)
        change(world)
        if announced:
            assert set(told.names(1)) == {"web"}
        else:
            assert told.nothing()


def test_the_store_announces_what_another_process_wrote(world: World, tmp_path: Path) -> None:
    world.register()
    with Store.open(tmp_path / "state.db") as theirs, running(instances(world)) as told:
        manifest = world.declare("web")
        told.names(1)
        theirs.instances.update_spec("web", manifest.spec.model_copy(update={"model": "opus"}))
        assert told.names(1) == ["web"]


class ForgetfulLog:
    """A change log that does not reach back to 5; while 8 and 9 are looked at, 10 is written."""

    def __init__(self) -> None:
        self.now = 5
        self.asked: list[int] = []

    def revision(self) -> int:
        return self.now

    def wait(self, after: int, timeout: float) -> int:
        if after == self.now and self.now < 9:
            self.now += 2
        elif after == self.now:
            threading.Event().wait(timeout)
        return self.now

    def wishes(self, kind: Kind, after: int) -> tuple[int, Sequence[str]]:
        assert kind is Kind.INSTANCE
        self.asked.append(after)
        if after < 7:
            raise RevisionGone("RevisionGone", "list again")
        self.now = 10
        return self.now, ["late", "newer than the revision"]


def test_where_the_log_does_not_reach_back_everything_is_announced() -> None:
    log = ForgetfulLog()
    rounds = iter([["first"], ["web", "api"]])
    with running(StoreSource(log, Kind.INSTANCE, lambda: next(rounds))) as told:
        assert told.names(5) == ["api", "first", "late", "newer than the revision", "web"]
        assert told.nothing()
    assert log.asked == [5, 7], "what was announced is not asked for again"


def test_of_a_burst_of_changes_the_first_is_announced_at_once_and_the_others_soon(world: World) -> None:
    world.register()
    world.declare("first")
    with running(instances(world)) as told:
        assert told.names(1) == ["first"], "the list is through"
        for number in range(5):
            world.declare(f"web-{number}")
        assert told.names(5) == [f"web-{number}" for number in range(5)]
        assert told.nothing(), "and none of them twice"


# The runtime ---------------------------------------------------------------------------------------------------


def workload(name: str, uid: str) -> WorkloadSpec:
    limits = Limits(cpus=1.0, memory=2**30, pids=64)
    return WorkloadSpec(name, uid, 1, IMAGE, "hash", limits, (), (1000, 1000), "/work")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def runtime_source(engine: FakeEngine) -> RuntimeSource:
    names = {"uid-web": "web", "uid-api": "api"}
    return RuntimeSource(only(FakeRuntime(engine)), "docker", names.get, names.values)


def test_the_runtime_announces_everything_at_each_connection_and_prepares(engine: FakeEngine) -> None:
    with running(runtime_source(engine)) as told:
        assert told.names(2) == ["api", "web"]
        assert engine.networks
        engine.networks.clear()
        engine.break_watches()
        assert told.names(2) == ["api", "web"]
        assert engine.networks, "what an engine forgot is made again"


def test_the_runtime_announces_whose_workload_changed_and_nobody_it_does_not_know(engine: FakeEngine) -> None:
    runtime = FakeRuntime(engine)
    runtime.create(workload("web", "uid-web"))
    runtime.create(workload("stray", "uid-of-nobody"))
    with running(runtime_source(engine)) as told:
        told.names(2)
        runtime.start("uid-of-nobody", 1)
        runtime.start("uid-web", 1)
        assert told.names(1) == ["web"]
        assert told.nothing()


def test_a_runtime_that_cannot_be_prepared_is_listened_to_all_the_same(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.fail_next("prepare", Conflict("NetworkConflict", "the network is not ours"))
    with running(runtime_source(engine)) as told:
        assert told.names(2) == ["api", "web"]
        engine.break_watches()
        assert told.names(2) == ["api", "web"]
    (record,) = caplog.records
    assert (record.getMessage(), vars(record)["cco_reason"]) == ("runtime not prepared", "NetworkConflict")


def test_nothing_is_asked_of_a_runtime_before_an_instance_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "POLL_SECONDS", 0.01)
    made: list[FakeRuntime] = []

    def make() -> FakeRuntime:
        made.append(FakeRuntime())
        return made[0]

    runtimes = Runtimes("docker", {"docker": make})
    with running(RuntimeSource(runtimes, "docker", lambda _: None, lambda: ["web"])) as told:
        assert told.nothing()
        assert made == []
        runtimes.named("docker")
        assert told.names(1) == ["web"]


# The clock -----------------------------------------------------------------------------------------------------


def test_the_clock_announces_everything_again_and_again() -> None:
    names = iter([["web"], ["web", "api"]])
    with running(ResyncSource(lambda: next(names, []), 0.01)) as told:
        assert told.names(3) == ["api", "web", "web"]


def test_the_clock_stops_at_once() -> None:
    with running(ResyncSource(lambda: ["web"], 3600.0)) as told:
        assert told.nothing()
