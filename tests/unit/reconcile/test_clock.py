"""The wall clock jumps, as after a suspended laptop or a correction: nothing is forgotten and nothing is done anew."""

from __future__ import annotations

import pytest

from controller.resources import ConditionStatus
from support.world import World

HOUR = 3600.0


@pytest.mark.parametrize("seconds", [-24 * HOUR, -HOUR, HOUR, 24 * HOUR])
def test_a_jump_of_the_clock_changes_nothing(world: World, seconds: float) -> None:
    world.ready()
    done = len(world.engine.changes)
    world.tick(seconds)
    world.settle()
    ready = world.condition("Ready")
    assert (ready.status, ready.reason) == (ConditionStatus.TRUE, "Ready")
    assert len(world.engine.changes) == done


def test_the_last_words_of_an_earlier_run_count_no_more_when_the_clock_is_right(world: World) -> None:
    uid = world.ready().metadata.uid
    agent = world.agents.of(uid)
    agent.frozen_at = world.now
    world.tick(1.0)
    world.engine.crash(uid)
    world.settle()
    assert world.condition("Ready").reason == "StartingSession"


def test_what_was_said_before_a_jump_back_is_not_about_a_run_after_it(world: World) -> None:
    """By its own time it is from the future; a restart for it would be followed by the next one, and so on."""
    uid = world.ready().metadata.uid
    agent = world.agents.of(uid)
    agent.frozen_at = world.now
    world.tick(-24 * HOUR)
    world.change(restart_generation=1)
    world.settle()
    agent.age, agent.connected = 10.0, False
    restarts = world.engine.changes.count("start web")
    world.change(model="haiku")
    world.settle()
    assert world.engine.changes.count("start web") == restarts
    assert world.condition("Ready").reason == "StartingSession"


def test_after_a_jump_back_only_a_living_connection_is_believed(world: World) -> None:
    uid = world.ready().metadata.uid
    world.agents.of(uid).connected = False
    world.tick(-HOUR)
    world.settle()
    assert world.condition("Ready").reason == "StartingSession"


def test_what_fails_for_good_is_told_once(world: World) -> None:
    world.register()
    world.declare(image="not-there:1")
    for _ in range(3):
        world.settle()
        world.tick(60.0)
    told = [event for event in world.store.events.list(name="web") if event.reason == "ImageNotFound"]
    assert [event.count for event in told] == [2], "as the act that failed, and as the reason of Ready"
