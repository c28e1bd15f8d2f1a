"""Prompts arrive verbatim, once, and are acknowledged."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable

import pytest

from scripted_model import ScriptedModel
from support.agent_box import AgentBox

pytestmark = pytest.mark.docker


WORDS = ["naïve", "✓", "日本語", "\\n", "'q\"", "a\tb", "$HOME", "`x`"]


def long_prompt(size: int) -> str:
    """Many lines with what a terminal would spoil: tabs, blanks at the ends, other scripts, quotes, escapes."""
    chance = random.Random(7)  # noqa: S311 - the same text every time
    lines = ["STEP say received"]
    while sum(len(line) + 1 for line in lines) < size:
        words = " ".join(
            chance.choice(["naïve", "✓", "日本語", "\\n", "'q\"", "a\tb", "$HOME", "`x`"]) for _ in range(9)
        )
        lines.append("\t" * chance.randint(0, 2) + words + " " * chance.randint(0, 2))
    return "\n".join(lines)[: size - 4] + "\nend"


def prompts(model: ScriptedModel) -> list[str]:
    return [request.prompt for request in model.requests]


@pytest.mark.parametrize("size", [10_000, 200_000])
def test_a_long_prompt_arrives_verbatim(box: AgentBox, model: ScriptedModel, size: int) -> None:
    prompt = long_prompt(size)
    assert len(prompt) == size
    box.controller.send_input("long", prompt)
    assert box.controller.wait_for_input("long")["state"] == "accepted"
    box.controller.wait_for(lambda _: bool(model.requests))
    assert prompts(model)[-1] == prompt


@pytest.mark.parametrize("size", [10_000, 150_000])
def test_so_does_a_long_first_prompt(make_box: Callable[..., AgentBox], model: ScriptedModel, size: int) -> None:
    prompt = long_prompt(size)
    box = make_box(prompt=prompt)
    box.start()
    box.controller.wait_for_state("working")
    box.controller.wait_for_state("idle", after=len(box.controller.reports))
    assert prompts(model) == [prompt]
    assert box.controller.reports[-1]["inputs"] == []


TRICKY = [
    "STEP say one",
    "STEP say ends in a backslash\\",
    "!STEP say no shell",
    "/etc/hosts STEP say a path",
    "@README.md STEP say a mention",
    "# STEP say a heading",
    "\n\n\tSTEP say indented",
    "-STEP say a dash",
    "STEP say 'quotes' \"and\" $(more) `of` it; & | \\ done",
]


def test_tricky_prompts_arrive_verbatim_and_in_order(box: AgentBox, model: ScriptedModel) -> None:
    for number, prompt in enumerate(TRICKY):
        box.controller.send_input(str(number), prompt)
    for number in range(len(TRICKY)):
        assert box.controller.wait_for_input(str(number))["state"] == "accepted", TRICKY[number]
    box.controller.wait_for(lambda r: len(model.requests) == len(TRICKY) and r["session"]["state"] == "idle")
    assert prompts(model) == TRICKY


# Stops Claude once its editor runs: the editor ends, and Claude cannot take the terminal back for a while.
STOPPED_BEHIND_ITS_EDITOR = """
import os, signal, subprocess, termios, time
pid = int(subprocess.run(["pgrep", "-o", "-x", "claude"], capture_output=True, text=True, check=True).stdout)
terminal = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
print("looking", flush=True)
end = time.monotonic() + 30
while not termios.tcgetattr(terminal)[3] & termios.ICANON and time.monotonic() < end:
    time.sleep(0.001)
os.kill(pid, signal.SIGSTOP)
time.sleep(1)
os.kill(pid, signal.SIGCONT)
"""


def test_a_prompt_is_verbatim_however_slowly_claude_comes_back_from_its_editor(
    box: AgentBox, model: ScriptedModel
) -> None:
    argv = ["docker", "exec", "--interactive", box.name, "python3", "-c", STOPPED_BEHIND_ITS_EDITOR]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as stopper:
        assert stopper.stdout is not None
        assert stopper.stdout.readline() == "looking\n"
        box.controller.send_input("slow", "\n\tSTEP say a\ttab")
        assert box.controller.wait_for_input("slow")["state"] == "accepted"
        assert stopper.wait(30) == 0
    box.controller.wait_for(lambda _: bool(model.requests))
    assert prompts(model) == ["\n\tSTEP say a\ttab"]


def test_an_id_is_typed_once_also_by_the_next_container(box: AgentBox, model: ScriptedModel) -> None:
    control = box.controller
    for _ in range(3):
        control.send_input("one", "STEP say once")
    first = control.wait_for_input("one")
    control.wait_for(lambda _: prompts(model) == ["STEP say once"])
    box.remove()
    box.start()
    seen = len(control.reports)
    control.wait_for_state("idle", after=seen)
    assert control.reports[-1]["inputs"] == [first]
    control.send_input("one", "STEP say once")
    control.send_input("two", "STEP say twice")
    assert control.wait_for_input("two")["state"] == "accepted"
    control.wait_for(lambda _: prompts(model)[-1:] == ["STEP say twice"])
    assert prompts(model) == ["STEP say once", "STEP say twice"]


def test_what_was_interrupted_is_settled_by_the_conversation(box: AgentBox) -> None:
    box.controller.send_input("one", "STEP say heard")
    box.controller.wait_for_input("one")
    box.remove()
    typing = [{"id": word, "text": f"STEP say {word}", "at": 1} for word in ("heard", "lost")]
    left = json.dumps({"done": [], "typing": typing})
    box.run_aside("sh", "-c", 'printf %s "$1" > /home/agent/.cco/inputs.json', "sh", left)
    box.start()
    assert box.controller.wait_for_input("heard")["state"] == "accepted"
    lost = box.controller.wait_for_input("lost")
    assert lost["state"] == "rejected"
    assert "no note of it" in lost["reason"]


def test_control_characters_and_empty_prompts(box: AgentBox, model: ScriptedModel) -> None:
    box.controller.send_input("red", "STEP say \x1b[31mred\x1b[0m\x00")
    assert box.controller.wait_for_input("red")["state"] == "accepted"
    box.controller.wait_for(lambda _: bool(model.requests))
    assert prompts(model) == ["STEP say [31mred[0m"]
    box.controller.send_input("nothing", " \n\t")
    assert box.controller.wait_for_input("nothing") == {
        "id": "nothing",
        "state": "rejected",
        "reason": "the prompt is empty",
        "at": box.controller.reports[-1]["inputs"][-1]["at"],
    }


def test_a_draft_in_the_box_is_not_sent_along(box: AgentBox, model: ScriptedModel) -> None:
    for draft in ("half a thought", "!rm -rf half a command"):
        box.exec("tmux", "send-keys", "-t", "=cc-orchestrator-web:claude", "-l", draft)
        box.controller.send_input(draft, f"STEP say instead of {draft[:5]}")
        assert box.controller.wait_for_input(draft)["state"] == "accepted"
        box.controller.wait_for_state("idle", after=len(box.controller.reports))
    assert prompts(model) == ["STEP say instead of half", "STEP say instead of !rm -"]


def test_clear_begins_a_conversation_that_the_next_container_goes_on_with(box: AgentBox, model: ScriptedModel) -> None:
    control = box.controller
    control.send_input("one", "STEP say before")
    control.wait_for_input("one")
    control.wait_for_state("idle", after=len(control.reports))
    control.send_input("clear", "/clear")
    assert control.wait_for_input("clear")["state"] == "accepted"
    report = control.wait_for(lambda r: r["session"]["session_id"] != box.uid)
    control.send_input("two", "STEP say after")
    control.wait_for_input("two")
    control.wait_for(lambda _: prompts(model)[-1:] == ["STEP say after"])
    box.remove()
    seen = len(control.reports)
    box.start()
    again = control.wait_for_state("idle", after=seen)
    assert again["session"]["session_id"] == report["session"]["session_id"]
    control.send_input("three", "STEP say third")
    control.wait_for_input("three")
    control.wait_for(lambda _: prompts(model)[-1:] == ["STEP say third"])
    assert model.requests[-1].prompts[-2:] == ("STEP say after", "STEP say third")
    assert "STEP say before" not in model.requests[-1].prompts


def test_compact_is_a_command_too(box: AgentBox, model: ScriptedModel) -> None:
    control = box.controller
    control.send_input("one", "STEP say before")
    control.wait_for_input("one")
    control.wait_for_state("idle", after=len(control.reports))
    control.send_input("compact", "/compact")
    assert control.wait_for_input("compact")["state"] == "accepted"
    control.send_input("two", "STEP say after")
    assert control.wait_for_input("two")["state"] == "accepted"
    control.wait_for(lambda _: prompts(model)[-1:] == ["STEP say after"])


def test_thirty_prompts_in_a_row(box: AgentBox, model: ScriptedModel) -> None:
    wanted = [f"STEP say {number}" for number in range(30)]
    began = time.monotonic()
    for number, prompt in enumerate(wanted):
        box.controller.send_input(f"n{number}", prompt)
    box.controller.wait_for_input("n29", 60)
    box.controller.wait_for(lambda r: len(model.requests) == 30 and r["session"]["state"] == "idle")
    assert prompts(model) == wanted
    assert time.monotonic() - began < 60
