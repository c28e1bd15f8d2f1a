"""What is reported while Claude works, waits and stops, also where no hook tells."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from scripted_model import ScriptedModel
from support.agent_box import AgentBox

pytestmark = pytest.mark.docker


def press(box: AgentBox, *keys: str) -> None:
    box.exec("tmux", "send-keys", "-t", "=cc-orchestrator-web:claude", *keys)


@pytest.fixture
def manual(make_box: Callable[..., AgentBox]) -> AgentBox:
    """An idle instance in which Claude asks before it acts."""
    box = make_box(permission_mode="manual")
    box.start()
    box.controller.wait_for_state("idle")
    return box


def test_a_permission_is_waited_for_and_nothing_is_typed_into_it(manual: AgentBox, model: ScriptedModel) -> None:
    control = manual.controller
    control.send_input("one", "STEP bash touch made STEP say thanks")
    report = control.wait_for_state("waiting")
    assert report["session"]["waiting_for"] == "permission prompt"
    assert report["session"]["tool"] == "Bash"
    control.send_input("two", "STEP say second")
    # Denying fires no hook: that the state follows is the session file's doing.
    time.sleep(2.5)
    assert "Do you want to proceed?" in manual.screen()
    assert all(entry["id"] != "two" for entry in control.reports[-1]["inputs"])
    assert control.reports[-1]["session"]["state"] == "waiting"
    seen = len(control.reports)
    press(manual, "Escape")
    assert control.wait_for_state("idle", after=seen)["session"]["waiting_for"] is None
    assert control.wait_for_input("two")["state"] == "accepted"
    assert not (manual.workspace.worktree / "made").exists()
    control.wait_for(lambda _: model.requests[-1].prompt == "STEP say second")


def test_an_approved_permission_goes_on(manual: AgentBox) -> None:
    manual.controller.send_input("one", "STEP bash touch made STEP say thanks")
    manual.controller.wait_for_state("waiting")
    deadline = time.monotonic() + 10
    # Claude ignores keys for a moment after a dialog comes up.
    while manual.controller.reports[-1]["session"]["state"] == "waiting" and time.monotonic() < deadline:
        press(manual, "Enter")
        time.sleep(0.5)
    manual.controller.wait_for_state("idle", after=len(manual.controller.reports) - 1)
    assert (manual.workspace.worktree / "made").exists()


def test_an_interrupted_turn_is_idle_and_the_old_text_is_not_sent_again(box: AgentBox, model: ScriptedModel) -> None:
    control = box.controller
    control.send_input("one", "STEP sleep 30 STEP say late")
    control.wait_for_state("working")
    control.wait_for(lambda _: bool(model.requests))
    seen = len(control.reports)
    press(box, "Escape")
    control.wait_for_state("idle", after=seen)
    control.send_input("two", "STEP say fresh")
    assert control.wait_for_input("two")["state"] == "accepted"
    control.wait_for(lambda _: model.requests[-1].prompt == "STEP say fresh")


def test_a_question_is_answered_by_an_input(box: AgentBox) -> None:
    control = box.controller
    control.send_input("one", "STEP ask Which colour? STEP say thanks")
    report = control.wait_for_state("waiting")
    assert report["session"]["waiting_for"] == "input needed"
    seen = len(control.reports)
    control.send_input("two", "neither:\n\tblue")
    assert control.wait_for_input("two")["state"] == "accepted"
    control.wait_for_state("idle", after=seen)
    assert "thanks" in box.screen()
    transcript = box.exec("sh", "-c", "cat ~/.claude/projects/*/*.jsonl")
    assert "neither:\\n\\tblue" in transcript


def test_several_questions_are_left_to_a_person(box: AgentBox) -> None:
    control = box.controller
    options = [{"label": label, "description": label} for label in ("x", "y")]
    asked = [{"question": q, "header": q, "options": options, "multiSelect": False} for q in ("One?", "Two?")]
    control.send_input("one", f"STEP tool AskUserQuestion {json.dumps({'questions': asked})} STEP say ok")
    control.wait_for_state("waiting")
    control.send_input("two", "STEP say later")
    time.sleep(1)
    assert all(entry["id"] != "two" for entry in control.reports[-1]["inputs"])
    press(box, "Escape")
    assert control.wait_for_input("two")["state"] == "accepted"


def test_a_sub_agent_in_the_background_is_work(box: AgentBox) -> None:
    control = box.controller
    control.send_input("one", "STEP task SUB bash echo a; sleep 3 SUB say sub STEP say parent")
    control.wait_for_state("working")
    control.wait_for(lambda r: r["session"]["tool"] == "Bash")
    before = time.monotonic()
    control.wait_for_state("idle", after=len(control.reports))
    assert time.monotonic() - before > 1.5, "idle was reported while the sub-agent ran"


def test_a_command_in_the_background_is_not(box: AgentBox) -> None:
    control = box.controller
    shell = '{"command":"echo a; sleep 60","run_in_background":true,"description":"serve"}'
    control.send_input("one", f"STEP tool Bash {shell} STEP say started")
    control.wait_for_state("working")
    control.wait_for_state("idle", after=len(control.reports))
    time.sleep(2)
    assert control.reports[-1]["session"]["state"] == "idle"
    control.send_input("two", "STEP say next")
    assert control.wait_for_input("two")["state"] == "accepted"


@pytest.mark.parametrize(("status", "word"), [(401, "authentication_failed"), (429, "rate_limit")])
def test_a_failed_turn_says_why(make_box: Callable[..., AgentBox], status: int, word: str) -> None:
    box = make_box(env={"CLAUDE_CODE_MAX_RETRIES": "1"})
    box.start()
    box.controller.wait_for_state("idle")
    box.controller.send_input("one", f"STEP fail {status}")
    report = box.controller.wait_for(lambda r: r["session"]["state"] == "idle" and r["session"]["detail"], 40)
    assert word in report["session"]["detail"]
    box.controller.send_input("two", "STEP say better")
    box.controller.wait_for_input("two")
    assert box.controller.wait_for_state("idle", after=len(box.controller.reports))["session"]["detail"] is None
