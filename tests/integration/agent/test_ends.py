"""Ways to end, and what is left to go on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from scripted_model import ScriptedModel
from support.agent_box import KEY, AgentBox, docker

pytestmark = pytest.mark.docker


def last(box: AgentBox) -> dict[str, object]:
    session: dict[str, object] = box.controller.wait_for_state("exited")["session"]
    return session


def send(box: AgentBox, input_id: str, text: str) -> None:
    box.controller.send_input(input_id, text)
    assert box.controller.wait_for_input(input_id)["state"] == "accepted"


def test_a_killed_claude_is_reported_and_ends_the_container(box: AgentBox) -> None:
    pid = box.controller.reports[-1]["session"]["pid"]
    box.exec("sh", "-c", f"kill -9 {pid}")
    began = time.monotonic()
    session = last(box)
    assert (session["exit_status"], session["exit_signal"]) == (None, 9)
    assert box.wait() == 137
    assert time.monotonic() - began < 3


# As a person does: press it, read that Claude wants it once more, and press it again before it has forgotten the first.
LEAVES = """
for press in $(seq 20); do
  tmux send-keys -t "$1" C-d || exit 0
  for look in $(seq 20); do
    tmux capture-pane -p -t "$1" | grep -q "again to exit" && break
    sleep 0.05
  done
done
"""


def test_a_person_who_leaves_claude_ends_the_container(box: AgentBox) -> None:
    box.exec("sh", "-c", LEAVES, "sh", "=cc-orchestrator-web:claude", check=False)  # it goes away meanwhile
    assert last(box)["exit_status"] == 0
    assert box.wait() == 0


def test_without_tmux_there_is_an_end_and_a_reason(box: AgentBox) -> None:
    box.exec("tmux", "kill-server", check=False)
    session = last(box)
    assert (session["exit_status"], session["exit_signal"]) == (None, None)
    assert "not known" in str(session["detail"])
    assert box.wait() == 70


def test_stopping_is_graceful_and_quick(make_box: Callable[..., AgentBox]) -> None:
    box = make_box()
    hook = {"type": "command", "command": "cat > ended.json"}
    settings = box.workspace.worktree / ".claude"
    settings.mkdir()
    (settings / "settings.json").write_text(json.dumps({"hooks": {"SessionEnd": [{"hooks": [hook]}]}}))
    box.workspace.give_away()
    box.start()
    box.controller.wait_for_state("idle")
    send(box, "one", "STEP sleep 30 STEP say late")
    began = time.monotonic()
    docker("stop", "--time", "10", box.name)
    assert time.monotonic() - began < 5
    assert box.wait() == 0
    assert last(box)["state"] == "exited"
    assert json.loads((box.workspace.worktree / "ended.json").read_text())["hook_event_name"] == "SessionEnd"


def test_a_stop_before_claude_has_started(make_box: Callable[..., AgentBox]) -> None:
    box = make_box(credentials={})
    box.start()
    box.controller.wait_for_state("starting")
    began = time.monotonic()
    docker("stop", "--time", "10", box.name)
    assert time.monotonic() - began < 3
    assert box.wait() == 0


@pytest.mark.parametrize("how", ["stop", "kill", "replace"])
def test_the_same_conversation_goes_on(box: AgentBox, model: ScriptedModel, how: str) -> None:
    send(box, "one", "STEP bash echo first STEP say one")
    box.controller.wait_for_state("idle", after=len(box.controller.reports))
    if how == "replace":
        box.remove()
    else:
        docker(how, box.name)
        box.wait()
    seen = len(box.controller.reports)
    if how == "replace":
        box.start()
    else:
        # The same container again: its tmpfs are fresh, its HOME is not.
        docker("start", box.name)
    report = box.controller.wait_for_state("idle", after=seen)
    assert report["session"]["session_id"] == box.uid
    assert "STEP bash echo first" in box.screen()
    send(box, "two", "STEP say two")
    box.controller.wait_for(lambda _: model.requests[-1].prompt == "STEP say two")
    assert model.requests[-1].prompts == ("STEP bash echo first STEP say one", "STEP say two")


def test_a_turn_cut_off_is_kept_and_nothing_goes_on_unasked(box: AgentBox, model: ScriptedModel) -> None:
    send(box, "one", "STEP bash touch before; sleep 60 STEP say one")
    box.controller.wait_for(lambda r: r["session"]["tool"] == "Bash")
    docker("kill", box.name)
    box.wait()
    seen = len(box.controller.reports)
    docker("start", box.name)
    box.controller.wait_for_state("idle", after=seen)
    count = len(model.requests)
    send(box, "two", "STEP say two")
    box.controller.wait_for(lambda _: model.requests[-1].prompt == "STEP say two")
    assert len(model.requests) == count + 1
    assert model.requests[-1].prompts[0] == "STEP bash touch before; sleep 60 STEP say one"


def test_a_declared_prompt_is_given_once(make_box: Callable[..., AgentBox], model: ScriptedModel) -> None:
    box = make_box(prompt="STEP say the declared one")
    for _ in range(2):
        seen = len(box.controller.reports)
        box.start()
        box.controller.wait_for(lambda r: r["session"]["state"] == "idle" and bool(model.requests), after=seen)
        time.sleep(0.5)
        box.remove()
    assert [request.prompt for request in model.requests] == ["STEP say the declared one"]


def test_out_of_memory_is_counted(box: AgentBox) -> None:
    hog = 'python3 -c "x = bytearray(1 << 30); print(len(x))"'
    box.controller.send_input("one", f"STEP bash {hog} STEP say survived")
    report = box.controller.wait_for(lambda r: r["usage"]["oom_kills"] > 0, 40)
    assert report["session"]["state"] in {"working", "idle"}, "the kernel was to take the hog, not Claude"


def test_credentials_outlive_nothing_but_tmpfs(box: AgentBox) -> None:
    docker("stop", "--time", "10", box.name)
    home = box.run_aside("sh", "-c", "cat /home/agent/.claude.json /home/agent/.claude/settings.json; find /home/agent")
    assert "apiKeyHelper" in home
    assert KEY not in home
    assert KEY[-20:] not in home
