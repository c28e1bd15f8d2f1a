"""Usage goes into the database in one batch per beat, and only what is new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from controller.errors import Retryable
from controller.reconcile.usage import UsageRecorder
from controller.resources import Usage
from controller.store import Store
from support.deadline import eventually
from support.world import World

LONGEST_SECONDS = 10.0


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


def test_a_beat_writes_what_the_agents_reported(world: World, recorder: UsageRecorder) -> None:
    world.ready()
    assert usage_of(world) is None
    recorder.beat()
    usage = usage_of(world)
    assert usage is not None
    assert (usage.cpu_percent, usage.memory_bytes, usage.pids) == (1.5, 2**28, 9)


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
    eventually(lambda: usage_of(world), timeout=LONGEST_SECONDS, what="the first beat")
    started.stop()
    world.tick(5)
    revision = world.store.revision()
    started.stop()
    assert world.store.revision() == revision


def test_it_goes_on_after_a_beat_that_failed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.ready()
    recorder = UsageRecorder(world.agents, FailingRows(world.store), seconds=0.005)
    recorder.start()
    try:
        eventually(lambda: usage_of(world), timeout=LONGEST_SECONDS, what="a beat after the failed ones")
    finally:
        recorder.stop()
    assert [record.getMessage() for record in caplog.records] == ["usage not recorded", "usage not recorded"]
