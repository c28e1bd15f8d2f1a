"""The model in trouble: refusals, overload, slowness, silence. Claude itself tries again; no container is restarted.

The real client with the scripted model; ``CLAUDE_CODE_MAX_RETRIES`` bounds how long it tries, where it is to give up.
"""

from __future__ import annotations

import pytest

from controller.resources import ConditionStatus
from faults.world.installation import CLIENT, EVERYTHING, World
from support.model_container import away

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

IMPATIENT = {"CLAUDE_CODE_MAX_RETRIES": "2"}


def answers(world: World, name: str, word: str) -> None:
    """Wait until Claude has said it: it is on the screen twice, in the prompt and in the answer."""
    world.until(lambda: world.screen(name).count(word) >= 2, f"{name} says {word}")
    world.until_state(name, "idle")


@pytest.mark.parametrize(
    ("status", "told"), [(401, "authentication_failed"), (429, "rate_limit"), (529, "server_error")]
)
def test_a_refusal_ends_the_turn_and_nothing_else(world: World, status: int, told: str) -> None:
    name = f"refused-{status}"
    world.talk(name, env=IMPATIENT)
    world.remember()
    life = world.life(name)
    asked = len(world.system.model.requests())
    world.send(name, f"STEP fail {status}")

    def failed() -> bool:
        session = world.get(name).status.session
        return session is not None and str(session.state) == "idle" and told in (session.detail or "")

    world.until(failed, "the turn failed, and why is told")
    assert world.ready(name).status is ConditionStatus.TRUE
    assert len(world.system.model.requests()) - asked <= 6, "it is not asked for ever"
    world.verify(rest=status == 429)
    world.send(name, "STEP say recovered")
    answers(world, name, "recovered")
    assert world.life(name) == life
    assert world.get(name).status.restarts == 0


@pytest.mark.parametrize(("status", "told"), [(401, "authentication_failed"), (429, "rate_limit")])
def test_a_first_prompt_that_is_refused_is_told_and_begins_no_loop_of_restarts(
    world: World, status: int, told: str
) -> None:
    name = f"born-{status}"
    world.spawn(name, image=CLIENT, prompt=f"STEP fail {status}", env=IMPATIENT)

    def refused() -> bool:
        session = world.get(name).status.session
        return session is not None and str(session.state) == "idle" and session.detail is not None

    world.until(refused, "the turn of the first prompt failed")
    session = world.get(name).status.session
    assert session is not None
    assert session.detail is not None
    assert session.detail.startswith(f"the last turn failed: {told}"), session.detail
    assert str(status) in session.detail
    assert session.detail in world.system.cco("describe", "instance", name)
    life, asked = world.life(name), len(world.system.model.requests())
    world.remember()
    world.verify()
    assert len(world.system.model.requests()) == asked, "it is left at that until somebody has an answer"
    assert [each for each in world.place.happened("start") if each[1] == world.get(name).metadata.uid] == [
        ("start", world.get(name).metadata.uid)
    ]
    world.send(name, "STEP say recovered")
    answers(world, name, "recovered")
    assert world.life(name) == life
    assert world.get(name).status.restarts == 0
    world.verify(rest=False)


def test_an_overload_that_passes_is_waited_out_by_the_client(world: World) -> None:
    world.talk("patient")
    world.remember()
    life = world.life("patient")
    world.send("patient", "STEP fail 529 2 STEP say weathered")
    answers(world, "patient", "weathered")
    world.send("patient", "STEP fail 429 2 STEP say allowed")
    answers(world, "patient", "allowed")
    assert world.life("patient") == life
    world.verify()


def test_a_slow_model_is_work_and_no_silence(world: World) -> None:
    world.talk("slow")
    world.remember()
    life = world.life("slow")
    world.send("slow", f"STEP sleep {60 if EVERYTHING else 7} STEP say ponderous")
    world.until_state("slow", "working")
    assert world.ready("slow").status is ConditionStatus.TRUE
    answers(world, "slow", "ponderous")
    assert world.life("slow") == life
    world.verify()


def test_without_a_model_sessions_start_and_go_on_when_it_is_back(world: World) -> None:
    world.talk("waits")
    world.remember()
    life = world.life("waits")
    with away(world.system.model):
        world.send("waits", "STEP say returned")
        world.until_state("waits", "working")
        world.spawn("newborn", image="cc-orchestrator/instance:0.1.0")
        world.until_ready("newborn")
        world.until_state("newborn", "idle")
        assert world.ready("waits").status is ConditionStatus.TRUE
    answers(world, "waits", "returned")
    assert world.life("waits") == life
    assert world.get("newborn").status.restarts == 0
    world.verify()
