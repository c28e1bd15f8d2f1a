"""Every step on the way ends, or is told as late; clocks that are set make nothing hang and nothing restart."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.errors import Retryable
from controller.reconcile.deadlines import DEADLINES
from controller.resources.explain import explain
from controller.resources.instance import TRANSITIONAL_REASONS
from support.world import World


def test_everything_on_the_way_has_a_deadline() -> None:
    assert set(DEADLINES) == set(TRANSITIONAL_REASONS)


def test_a_stop_that_does_not_end_is_told_as_late_and_still_tried(world: World) -> None:
    world.register()
    web = world.declare()
    world.agents.of(web.metadata.uid).state = "starting"
    world.settle()
    assert world.readiness() == ("False", "StartingSession")
    late = DEADLINES["StartingSession"].total_seconds()
    assert world.one_pass() == pytest.approx(180, abs=1), "the restart of the session comes first"
    step = world.get().status.transition
    assert step is not None
    assert step.reason == "StartingSession"
    world.agents.listening = 0.0  # nothing is concluded from silence by one who has only just begun to listen
    world.tick(late)
    world.settle()
    assert world.readiness() == ("False", "DeadlineExceeded")
    assert "StartingSession takes longer than 5 min" in explain(world.get())
    assert "DeadlineExceeded" in world.event_reasons()
    world.agents.of(web.metadata.uid).state = "idle"
    world.settle()
    assert world.readiness() == ("True", "Ready")
    assert world.get().status.transition is None


def test_a_drain_that_lasts_is_told_and_stays_ready(world: World) -> None:
    web = world.ready()
    world.agents.of(web.metadata.uid).state = "working"
    world.change(model="opus")
    world.settle()
    assert world.readiness() == ("True", "Draining")
    world.tick(DEADLINES["Draining"].total_seconds())
    world.settle()
    assert world.readiness() == ("True", "DeadlineExceeded")
    assert "'cco restart web' makes it now" in world.condition("Ready").message


def test_a_clock_that_was_set_back_holds_up_nothing(world: World) -> None:
    web = world.ready()
    for _ in range(2):
        world.engine.crash(web.metadata.uid, 1)
        world.settle()
    assert world.readiness() == ("False", "BackingOff")
    before = world.get().status.transition
    world.now -= timedelta(days=1)
    world.settle()
    assert world.readiness()[1] in {"Ready", "StartingSession"}
    assert before is not None


def test_what_cannot_be_written_down_holds_up_no_stop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Retryable("DiskFull", "the disk is full")

    world.ready()
    monkeypatch.setattr(type(world.manifests), "remember", refuse)
    world.change(operating_mode="Stopped")
    world.settle()
    assert world.readiness() == ("False", "Stopped")
    world.change(operating_mode="Running")
    world.one_pass()
    assert world.readiness() == ("False", "DiskFull"), "but nothing is started that would not be known after a loss"


def test_a_clock_that_jumps_restarts_nothing(world: World) -> None:
    world.ready()
    starts = world.engine.changes.count("start web")
    for days in (1, -2, 1):
        world.now += timedelta(days=days)
        world.settle()
    assert world.engine.changes.count("start web") == starts
