"""Nothing but "it runs, as it did" is remembered, and not after anything was heard of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from controller.errors import Unavailable
from controller.runtime.docker.engine import Json
from controller.runtime.docker.remembered import FRESH_SECONDS, RunningContainers
from controller.runtime.protocol import LABEL_UID, Limits, Workload, WorkloadState

WEB = Workload(
    id="c1",
    name="cco-web-1",
    instance="web",
    uid="u1",
    attempt=1,
    state=WorkloadState.RUNNING,
    spec_hash="",
    limits=Limits(cpus=1, memory=1, pids=1),
)
NETWORK = "cco"


@dataclass
class World:
    """An engine with at most one container, and a clock that stands still."""

    now: float = 100.0
    there: tuple[Workload, ...] = (WEB,)
    networks: tuple[str, ...] = (NETWORK,)
    lists: int = 0
    memory: RunningContainers = field(init=False)

    def __post_init__(self) -> None:
        self.memory = RunningContainers(NETWORK, clock=lambda: self.now)

    def look(self) -> tuple[Workload, ...]:
        self.now += 0.001
        found = self.memory.look("u1", lambda: self.there)
        self.now += 0.001
        return found

    def recall(self) -> tuple[Workload, ...] | None:
        return self.memory.recall("u1", self.list)

    def list(self) -> list[Json]:
        self.lists += 1
        networks = {"Networks": dict.fromkeys(self.networks)}
        return [
            {"Id": each.id, "State": each.state.value, "Labels": {LABEL_UID: each.uid}, "NetworkSettings": networks}
            for each in self.there
        ]

    def become(self, state: WorkloadState) -> None:
        self.there = (replace(WEB, state=state),)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.memory.followed():
        yield made


def test_a_running_container_is_remembered(world: World) -> None:
    assert world.recall() is None
    world.look()

    assert world.recall() == (WEB,)
    assert world.lists == 0


def test_what_is_known_is_confirmed_by_one_list_for_all(world: World) -> None:
    """Most looks of a resync are answered by it."""
    world.look()
    world.now += FRESH_SECONDS + 1

    assert [world.recall() for _ in range(100)] == [(WEB,)] * 100
    assert world.lists == 1

    world.now += FRESH_SECONDS + 1
    assert world.recall() == (WEB,)
    assert world.lists == 2


def _nothing_there(world: World) -> None:
    world.there = ()


def _another_one(world: World) -> None:
    world.there = (replace(WEB, id="c2"),)


def _one_more(world: World) -> None:
    world.there = (WEB, replace(WEB, id="c2", state=WorkloadState.EXITED))


def _off_the_network(world: World) -> None:
    world.networks = ("bridge",)


@pytest.mark.parametrize(
    "change",
    [
        *(lambda world, state=state: world.become(state) for state in WorkloadState if state != "running"),
        _nothing_there,
        _another_one,
        _one_more,
        _off_the_network,
    ],
)
def test_an_event_that_was_lost_is_noticed_by_the_list(world: World, change: Callable[[World], None]) -> None:
    world.look()
    change(world)
    world.now += FRESH_SECONDS + 1

    assert world.recall() is None


@pytest.mark.parametrize("there", [(), (replace(WEB, state=WorkloadState.EXITED),), (replace(WEB, notice="odd"),)])
def test_nothing_else_is_remembered(world: World, there: tuple[Workload, ...]) -> None:
    """Whether it is absent, has ended or is odd is asked anew each time."""
    world.there = there

    assert world.look() == there
    assert world.recall() is None


def test_what_was_heard_of_is_forgotten(world: World) -> None:
    world.look()
    world.memory.heard_of("u2")
    assert world.recall() == (WEB,)

    world.memory.heard_of("u1")
    assert world.recall() is None


def test_what_is_changed_is_forgotten_also_when_that_fails(world: World) -> None:
    world.look()
    with pytest.raises(Unavailable), world.memory.changing("u1"):
        raise Unavailable("RuntimeFailed", "it broke off")

    assert world.recall() is None


def test_an_answer_that_was_asked_for_before_an_event_is_not_remembered(world: World) -> None:
    """It may be from before what the event tells."""

    def overtaken() -> tuple[Workload, ...]:
        world.memory.heard_of("u1")
        return (WEB,)

    assert world.memory.look("u1", overtaken) == (WEB,)
    assert world.recall() is None


def test_an_event_during_the_list_counts(world: World) -> None:
    world.look()
    world.now += FRESH_SECONDS + 1

    def overtaken() -> list[Json]:
        world.memory.heard_of("u1")
        return world.list()

    assert world.memory.recall("u1", overtaken) is None


def test_nothing_is_remembered_where_no_events_are_received() -> None:
    world = World()
    world.look()
    assert world.recall() is None

    with world.memory.followed():
        assert world.recall() is None  # anything may have happened before
        world.look()
        assert world.recall() == (WEB,)
    assert world.recall() is None


def test_a_list_that_fails_is_no_answer(world: World) -> None:
    world.look()
    world.now += FRESH_SECONDS + 1

    def broken() -> list[Json]:
        raise Unavailable("RuntimeUnavailable", "nobody answers")

    with pytest.raises(Unavailable):
        world.memory.recall("u1", broken)
    assert world.recall() == (WEB,)


def test_what_was_heard_long_ago_takes_no_memory(world: World) -> None:
    world.memory.heard_of("u9")
    world.look()
    world.now += 1000
    world.recall()

    assert not world.memory._heard  # noqa: SLF001  # nothing else shows it


ENDED = replace(WEB, state=WorkloadState.EXITED, ending=True)


def test_an_end_is_told_once_before_the_engine_can_say_more(world: World) -> None:
    world.look()
    world.memory.ended("u1", "c1")
    world.memory.heard_of("u1")

    assert world.recall() == (ENDED,)
    assert world.recall() is None


@pytest.mark.parametrize("container", ["c2", None], ids=["another container", "another event"])
def test_no_end_is_told_of(container: str | None, world: World) -> None:
    world.look()
    world.memory.ended("u1", container)

    assert world.recall() is None


def test_an_end_is_not_told_when_something_has_happened_since(world: World) -> None:
    world.look()
    world.memory.ended("u1", "c1")
    world.memory.ended("u1", None)
    assert world.recall() is None

    world.look()
    world.memory.ended("u1", "c1")
    with world.memory.changing("u1"):
        pass
    assert world.recall() is None


def test_an_end_of_what_was_not_known_to_run_is_asked_for(world: World) -> None:
    world.memory.ended("u1", "c1")

    assert world.recall() is None
