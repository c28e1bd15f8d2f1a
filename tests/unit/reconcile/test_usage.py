"""Usage goes into the database in one batch per beat, and only what is new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from controller.errors import Retryable
from controller.reconcile.loop import Request
from controller.reconcile.usage import UsageRecorder
from controller.resources import Instance, Usage
from controller.store import Store
from support.deadline import eventually
from support.world import World

LONGEST_SECONDS = 10.0


class Stale:
    """Rows of which the first look is an old one."""

    def __init__(self, store: Store, instance: Instance) -> None:
        self.instance = instance
        self.update_status = store.instances.update_status
        self.purge = store.instances.purge

    def get(self, name: str) -> Instance:
        del name
        return self.instance


class FailingRows:
    """Rows that are locked the first time, broken in a way nobody planned for the second, and then written."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.errors: list[Exception] = [Retryable("DatabaseLocked", "somebody writes"), ValueError("a bug")]

    def record_usage(self, usage: Mapping[str, Usage]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.store.instances.record_usage(usage)


@pytest.fixture
def recorder(world: World) -> UsageRecorder:
    return UsageRecorder(world.agents, world.store.instances, seconds=0.005)


@pytest.fixture
def started(recorder: UsageRecorder) -> Iterator[UsageRecorder]:
    recorder.start()
    yield recorder
    recorder.stop()


def usage_of(world: World) -> Usage | None:
    return world.get().status.usage


def measured_at(world: World) -> datetime | None:
    usage = usage_of(world)
    return None if usage is None else usage.at


def test_a_beat_writes_what_the_agents_reported(world: World, recorder: UsageRecorder) -> None:
    world.ready()
    world.tick(5)
    recorder.beat()
    usage = usage_of(world)
    assert usage is not None
    assert (usage.cpu_percent, usage.memory_bytes, usage.pids, usage.at) == (1.5, 2**28, 9, world.now)


def test_the_first_measurement_comes_with_the_first_report(world: World) -> None:
    """A pass knows of none when it begins; what is recorded meanwhile must not be erased by it."""
    world.register()
    world.declare()
    world.one_pass()
    uid = world.get().metadata.uid
    begun = world.get()
    measured = Usage(at=world.now + timedelta(seconds=1), pids=7)
    world.store.instances.record_usage({uid: measured})
    reconciler = world.reconciler()
    instances = Stale(world.store, begun)
    replace(reconciler, instances=instances).reconcile(Request("web"))
    assert usage_of(world) == measured


def test_a_beat_without_news_writes_nothing(world: World, recorder: UsageRecorder) -> None:
    world.ready()
    recorder.beat()
    revision = world.store.revision()
    recorder.beat()
    assert world.store.revision() == revision
    world.tick(5)
    recorder.beat()
    assert world.store.revision() == revision + 1


def test_a_beat_without_instances_writes_nothing(world: World, recorder: UsageRecorder) -> None:
    revision = world.store.revision()
    recorder.beat()
    assert world.store.revision() == revision


def test_an_instance_that_is_gone_is_forgotten_and_known_anew_when_it_comes_back(
    world: World, recorder: UsageRecorder
) -> None:
    uid = world.ready().metadata.uid
    recorder.beat()
    world.agents.of(uid).muted = True
    recorder.beat()
    world.agents.of(uid).muted = False
    revision = world.store.revision()
    recorder.beat()
    assert world.store.revision() == revision + 1


def test_it_beats_until_it_is_stopped(world: World, started: UsageRecorder) -> None:
    world.ready()
    world.tick(5)
    eventually(lambda: measured_at(world) == world.now, timeout=LONGEST_SECONDS, what="a beat")
    started.stop()
    world.tick(5)
    revision = world.store.revision()
    started.stop()
    assert world.store.revision() == revision


def test_it_goes_on_after_a_beat_that_failed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.ready()
    recorder = UsageRecorder(world.agents, FailingRows(world.store), seconds=0.005)
    world.tick(5)
    recorder.start()
    try:
        eventually(
            lambda: measured_at(world) == world.now, timeout=LONGEST_SECONDS, what="a beat after the failed ones"
        )
    finally:
        recorder.stop()
    told = [record.getMessage() for record in caplog.records if record.name == "controller.reconcile.usage"]
    assert told == ["usage not recorded", "usage not recorded"]
