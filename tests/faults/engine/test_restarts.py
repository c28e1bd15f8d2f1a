"""The engine goes and comes back: stopped, killed, or with the whole machine.

Scenarios 5, 6 and 32 of docs/faults.md.
"""

from __future__ import annotations

import time

import pytest

from faults.engine_world import engine_world
from faults.real_world import BASE_IMAGE, IMAGES
from faults.recorders import cpu_share
from support.own_engine import OwnEngine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

THREE = ("one", "two", "three")
FAULT_CPU = 0.05
SLOW_SECONDS = 45.0


def test_a_stopped_engine_deletes_nothing_and_starts_each_once(engine: OwnEngine) -> None:
    """Without live-restore every container ends with the engine; the real client goes on with its conversation."""
    model = engine.serve_model()
    with engine_world(engine, image=BASE_IMAGE, model=model) as world:
        world.spawn("talks", prompt="STEP say the word is heron")
        world.spawn(*THREE[1:], image=IMAGES[0])
        world.until_ready("talks", *THREE[1:])
        world.system.state_becomes("talks", "idle")
        world.commit("two", "kept")
        world.remember()
        before = world.attempts("talks", *THREE[1:])
        conversation = world.conversation("talks")
        engine.stop()
        for name in before:
            world.until_unknown(name)
        assert "start it" in world.ready("two").message
        assert cpu_share(world.place.controller, 3.0) < FAULT_CPU
        assert world.attempts(*before) == before
        engine.start()
        world.until_ready(*before)
        assert world.restarts(*before) == dict.fromkeys(before, 1)
        assert world.attempts(*before) == before
        world.system.state_becomes("talks", "idle")
        assert world.conversation("talks") == conversation
        assert any("heron" in each for each in world.ask("talks", "STEP say stillhere")), "Claude remembers"
        world.verify()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_containers_that_outlive_the_engine_are_not_touched(engine: OwnEngine, end: str) -> None:
    """With live-restore, which the engine has to be told: the same processes before and after."""
    engine.stop()
    engine.start(live_restore=True)
    with engine_world(engine) as world:
        world.spawn(*THREE[:2])
        world.until_ready(*THREE[:2])
        world.commit("one", "kept")
        world.remember()
        lives = world.lives(*THREE[:2])
        for _ in range(2):
            engine.stop() if end == "stop" else engine.kill()
            for name in THREE[:2]:
                world.until_unknown(name)
            assert world.get("one").status.workload is not None
            assert cpu_share(world.place.controller, 2.0) < FAULT_CPU
            engine.start()
            world.until_ready(*THREE[:2])
            assert world.lives(*THREE[:2]) == lives
        # The new connection hears again: a death is noticed by its event, long before anything else would look.
        engine.docker("kill", world.container("two"))
        world.until(lambda: world.restarts("two") == {"two": 1}, "the death is noticed", timeout=30)
        world.until_ready(*THREE[:2])
        assert world.restarts("one") == {"one": 0}
        world.verify()
    engine.stop()
    engine.start(live_restore=False)


def test_the_fleet_is_back_after_a_reboot(engine: OwnEngine) -> None:
    """Every process is gone and ``/run`` is empty; what is on the disk is enough, and Claude remembers."""
    names = [f"light-{number}" for number in range(4)]
    model = engine.serve_model()
    with engine_world(engine, image=BASE_IMAGE, model=model) as world:
        world.spawn("talks", prompt="STEP say the word is heron")
        world.until_ready("talks")
        began = time.monotonic()
        world.spawn(*names, image=IMAGES[0])
        world.until_ready(*names)
        cold = time.monotonic() - began
        world.spawn("asleep", image=IMAGES[0], operating_mode="Suspended")
        world.until_reason("asleep", "Suspended")
        world.system.state_becomes("talks", "idle")
        world.commit(names[0], "kept")
        conversation = world.conversation("talks")
        world.remember()
        before = world.attempts("talks", *names)
        world.place.kill()
        engine.lose_power()
        engine.boot()
        engine.serve_model()
        engine.start()
        world.place.start()
        began = time.monotonic()
        # What is stored is what was before the fall, until each has been looked at.
        once = dict.fromkeys(before, 1)
        world.until(lambda: world.restarts(*before) == once, "each is started again, once", timeout=120)
        world.until_ready(*before)
        warm = time.monotonic() - began
        assert world.restarts(*before) == once
        assert world.attempts(*before) == before
        world.until_reason("asleep", "Suspended")
        world.system.state_becomes("talks", "idle")
        assert world.conversation("talks") == conversation
        assert any("heron" in each for each in world.ask("talks", "STEP say stillhere")), "Claude remembers"
        world.verify()
        assert warm < max(2 * cold, SLOW_SECONDS), f"{warm:.1f} s after the boot, {cold:.1f} s when they were made"
