"""Claude Code itself in trouble: frozen, its agent or tmux killed, HOME damaged. The client is the real one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controller.resources import ConditionStatus, LastExit
from faults.facts import run
from faults.world.installation import EVERYTHING, World

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

TALK = "heron"


def remembers(world: World, name: str) -> bool:
    """Ask Claude something and tell whether the request carried the conversation from before."""
    world.send(name, f"STEP say {name} goes on")
    world.until(lambda: f"STEP say {name} goes on" in world.system.model.prompts(), "the prompt reached the model")
    request = next(each for each in world.system.model.requests() if each["prompt"] == f"STEP say {name} goes on")
    world.until_state(name, "idle")
    return any("heron" in prompt for prompt in request["prompts"])


def test_a_frozen_claude_is_not_replaced_and_goes_on_when_it_is_woken(world: World) -> None:
    """Its agent still reports, so nobody concludes anything from the silence of Claude."""
    world.talk("frozen", TALK)
    world.remember()
    life = world.life("frozen")
    world.in_box("frozen", "kill -STOP $(pgrep -o -x claude)")
    frozen = datetime.now(UTC)

    def heard_since() -> bool:
        usage = world.get("frozen").status.usage
        return usage is not None and usage.at > frozen

    world.until(heard_since, "its agent reports")
    assert world.ready("frozen").status is ConditionStatus.TRUE
    assert "no report" not in world.condition("frozen", "AgentHealthy").message
    world.verify()
    assert world.life("frozen") == life
    world.in_box("frozen", "kill -CONT $(pgrep -o -x claude)")
    assert remembers(world, "frozen")
    assert world.life("frozen") == life
    world.verify(rest=False)


def killed(world: World, name: str, kill: str) -> LastExit:
    """Kill something in an instance that has talked; returns how the first run ended, once the same container is up."""
    world.talk(name, TALK)
    world.remember()
    container, _, _ = world.life(name)
    world.in_box(name, kill, check=False)
    world.until(lambda: world.get(name).status.restarts == 1, "the end was seen")
    world.until_state(name, "idle")
    assert world.life(name)[0] == container
    last = world.get(name).status.last_exit
    assert last is not None
    return last


def test_a_killed_agent_is_started_again_with_its_conversation(world: World) -> None:
    last = killed(world, "agentless", "pkill -9 -P 1 -f 'agent run'")
    assert (last.exit_code, last.reason) == (137, "Killed")
    assert remembers(world, "agentless")
    world.verify()


def test_a_killed_tmux_server_is_told_and_started_again_with_its_conversation(world: World) -> None:
    last = killed(world, "windowless", "pkill -9 'tmux: server'")
    assert "tmux" in last.message or "Killed" in last.reason, last
    assert remembers(world, "windowless")
    world.verify()


DAMAGE = {
    "cut": "f=$(ls ~/.claude/projects/*/*.jsonl); head -c $(($(wc -c <$f) / 2)) $f >/tmp/half; cp /tmp/half $f",
    "garbage": "f=$(ls ~/.claude/projects/*/*.jsonl); head -c 4096 /dev/urandom >$f",
    "empty": "f=$(ls ~/.claude/projects/*/*.jsonl); : >$f",
    "notjson": "echo 'no json' >~/.claude.json; echo '{' >~/.claude/settings.json",
    "unreadable": "chmod 000 ~/.claude.json ~/.claude/settings.json 2>/dev/null || true",
    "folder": "rm ~/.claude.json; mkdir ~/.claude.json; touch ~/.claude.json/in-the-way",
}


WHY = {"folder": ".claude.json"}
"""Where Claude Code does not come up, this is in what a person is told."""


@pytest.mark.parametrize("how", DAMAGE if EVERYTHING else ("garbage", "empty", "notjson", "folder"))
def test_a_damaged_home_comes_up_or_says_why(world: World, how: str) -> None:
    name = f"home-{how}"
    world.talk(name, TALK)
    world.remember()
    world.in_box(name, DAMAGE[how])
    run(["docker", "kill", world.container(name)])
    world.until(lambda: world.get(name).status.restarts >= 1, "the end was seen")

    def settled() -> bool:
        session = world.get(name).status.session
        if session is not None and str(session.state) == "idle":
            return True
        failures = world.get(name).status.failures
        return failures.count > 1 and world.ready(name).reason == "BackingOff"

    world.until(settled, "it is up, or says why not")
    ready = world.ready(name)
    if ready.status is ConditionStatus.TRUE:
        world.send(name, f"STEP say {name} answers")
        world.until(lambda: f"STEP say {name} answers" in world.system.model.prompts(), "Claude answers")
        world.until_state(name, "idle")
        world.verify()
    else:
        assert WHY[how] in ready.message
        world.verify(rest=False)
