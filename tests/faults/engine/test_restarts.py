"""The engine goes and comes back: stopped, killed, or with the whole machine (scenarios 5, 6 and 32)."""

from __future__ import annotations

import pytest

from controller.resources import ConditionStatus
from faults.engine_world import engine_world
from faults.real_world import BASE_IMAGE
from faults.recorders import cpu_share
from support.own_engine import OwnEngine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

THREE = ("one", "two", "three")
FAULT_CPU = 0.05


def test_a_stopped_engine_deletes_nothing_and_starts_each_once(engine: OwnEngine) -> None:
    """Without live-restore every container ends with the engine; the real client goes on with its conversation."""
    model = engine.serve_model()
    with engine_world(engine, image=BASE_IMAGE, model=model) as world:
        world.spawn("talks", prompt="STEP say the word is heron")
        world.spawn("two", "three", image="cc-orchestrator-test/light:1")
        world.until_ready("talks", "two", "three")
        world.system.state_becomes("talks", "idle")
        world.commit("two", "kept")
        world.remember()
        before = world.attempts("talks", "two", "three")
        conversation = world.conversation("talks")
        engine.stop()
        for name in before:
            world.until(lambda name=name: world.ready(name).status is ConditionStatus.UNKNOWN, f"{name} is unknown")
        assert "start it" in world.ready("two").message
        assert cpu_share(world.controller, 3.0) < FAULT_CPU
        assert world.attempts(*before) == before
        engine.start()
        world.until_ready(*before)
        assert world.restarts(*before) == dict.fromkeys(before, 1)
        assert world.attempts(*before) == before
        world.system.state_becomes("talks", "idle")
        assert world.conversation("talks") == conversation
        world.system.cco("send", "talks", "STEP say still here")
        assert any("heron" in prompt for prompt in model.requests()[-1]["prompts"]), "Claude remembers"
        world.verify()
