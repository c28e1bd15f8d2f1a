"""From a fresh container to Claude's prompt."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from scripted_model import ScriptedModel, secret_hash
from support.agent_box import KEY, AgentBox, docker, owner

pytestmark = pytest.mark.docker


def test_claude_is_idle_in_its_pane_and_a_shell_is_beside_it(box: AgentBox) -> None:
    session = box.controller.reports[-1]["session"]
    panes = box.exec(
        "tmux", "list-panes", "-s", "-t", "cc-orchestrator-web", "-F", "#W #{pane_pid} #{pane_current_path}"
    )
    first, second = panes.splitlines()
    assert first.split()[:2] == ["claude", str(session["pid"])]
    assert second.split()[0] == "shell"
    assert second.endswith(str(box.workspace.worktree))
    assert box.exec("cat", f"/proc/{session['pid']}/comm") == "claude"
    assert session["session_id"] == box.uid
    assert session["exit_status"] is None


def test_a_report_says_everything(box: AgentBox) -> None:
    report = box.controller.wait_for(lambda r: r["session"]["state"] == "idle" and r["usage"]["pids"] > 0)
    assert (report["type"], report["schema"], report["uid"], report["attempt"]) == ("report", 1, box.uid, 1)
    assert report["config_hash"] == "hash-1"
    assert report["tmux"] == {"session": "cc-orchestrator-web", "clients": 0}
    assert report["usage"]["memory_limit_bytes"] == 1 << 30
    assert 20 << 20 < report["usage"]["memory_bytes"] < 1 << 30
    assert report["usage"]["oom_kills"] == 0
    assert report["credentials"] == "present"
    assert report["refs_version"]
    assert [r["seq"] for r in box.controller.reports] == list(range(1, len(box.controller.reports) + 1))
    assert len({r["boot"] for r in box.controller.reports}) == 1


def test_the_first_prompt_becomes_a_commit(make_box: Callable[..., AgentBox], model: ScriptedModel) -> None:
    prompt = (
        "Write a note.\nSTEP write note.txt words STEP bash git add -A && git commit -q -m 'Add a note' STEP say Done."
    )
    box = make_box(prompt=prompt)
    box.start()
    box.controller.wait_for_state("working")
    box.controller.wait_for_state("idle", after=len(box.controller.reports))
    assert box.workspace.log() == ["Add a note", "Begin"]
    assert (box.workspace.worktree / "note.txt").read_text() == "words\n"
    assert model.requests[0].prompt == prompt
    before = box.controller.reports[0]["refs_version"] or box.controller.reports[1]["refs_version"]
    assert box.controller.wait_for(lambda r: r["refs_version"] not in {None, before})


def test_the_key_reaches_the_model_and_nobody_else(make_box: Callable[..., AgentBox], model: ScriptedModel) -> None:
    box = make_box(prompt="STEP say hello")
    box.start()
    box.controller.wait_for(lambda r: bool(model.requests) and r["session"]["state"] == "idle")
    assert model.requests[0].api_key_sha256 == secret_hash(KEY)
    uid, _ = owner()
    assert box.exec("stat", "-c", "%a %u", "/run/secrets/ANTHROPIC_API_KEY") == f"400 {uid}"
    assert box.exec("cat", "/run/secrets/ANTHROPIC_API_KEY") == KEY
    processes = box.exec("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'")
    assert "CCO_INSTANCE=web" in processes
    written = box.exec("sh", "-c", "grep -rIl -- sk-ant /home/agent /tmp 2>/dev/null || true")
    told = b"".join(box.controller.lines).decode()
    for place in (processes, docker("inspect", box.name), box.logs(), box.screen(), told, written):
        assert KEY not in place
        assert KEY[-20:] not in place
    assert written == ""


@pytest.mark.parametrize(
    ("name", "passed_on"),
    [
        ("CLAUDE_CODE_OAUTH_TOKEN", False),
        # Claude Code keeps the other tokens from what it runs, but not this one (2.1.328; docs/security.md says so).
        ("ANTHROPIC_AUTH_TOKEN", True),
    ],
)
def test_a_token_is_in_claudes_environment_only(
    make_box: Callable[..., AgentBox], model: ScriptedModel, name: str, *, passed_on: bool
) -> None:
    token = "sk-ant-oat01-not-a-real-token"  # noqa: S105 - not a real one
    script = "STEP bash env > of-a-command STEP say hello"
    box = make_box(prompt=script, permission_mode="bypassPermissions", credentials={name: token})
    box.start()
    report = box.controller.wait_for(lambda r: len(model.requests) >= 2 and r["session"]["state"] == "idle")
    assert model.requests[0].authorization_sha256 == secret_hash(token)
    assert model.requests[0].api_key_sha256 is None
    of_a_command = (box.workspace.worktree / "of-a-command").read_text()
    assert "CCO_INSTANCE=web" in of_a_command
    assert (token in of_a_command) is passed_on
    panes = box.exec("tmux", "list-panes", "-s", "-t", "cc-orchestrator-web", "-F", "#{pid} #{pane_pid}").split()
    others = {*panes, "1"} - {str(report["session"]["pid"])}
    assert len(others) == 3, "the first process, tmux's server and the shell beside Claude"
    for process in others:
        # Not every process there is: before it calls exec, a child of Claude still has Claude's environment.
        environment = box.exec("cat", f"/proc/{process}/environ")
        assert "CCO_INSTANCE=web" in environment
        assert token not in environment
    assert token not in docker("inspect", box.name)


def test_without_credentials_it_waits_and_says_so(make_box: Callable[..., AgentBox]) -> None:
    box = make_box(credentials={})
    box.start()
    report = box.controller.wait_for(lambda r: bool(r["session"]["detail"]))
    assert (report["session"]["state"], report["credentials"]) == ("starting", "missing")
    assert "no credentials" in report["session"]["detail"]
    box.controller.send({"type": "credentials", "values": {"ANTHROPIC_API_KEY": KEY}})
    assert box.controller.wait_for_state("idle")["session"]["detail"] is None


def test_an_unknown_layout_is_named(make_box: Callable[..., AgentBox]) -> None:
    box = make_box(layout="spiral")
    box.start()
    report = box.controller.wait_for(lambda r: bool(r["session"]["detail"]))
    assert report["session"]["state"] == "starting"
    assert "layout 'spiral' is not known" in report["session"]["detail"]
    assert "default" in report["session"]["detail"]
    docker("stop", "--time", "10", box.name)
    assert box.wait() == 0


def test_what_claude_says_when_it_refuses_is_told(make_box: Callable[..., AgentBox]) -> None:
    box = make_box(args=["--no-such-option"])
    box.start()
    report = box.controller.wait_for_state("exited")
    assert report["session"]["exit_status"] == 1
    assert "unknown option '--no-such-option'" in report["session"]["detail"]
    assert box.wait() == 1


def test_settings_of_the_instance_reach_claude(make_box: Callable[..., AgentBox], model: ScriptedModel) -> None:
    env = {"GREETING": "hello from the spec"}
    script = 'STEP bash printf "$GREETING" > greeting STEP say done'
    box = make_box(env=env, model="claude-haiku-4-5", permission_mode="bypassPermissions", prompt=script)
    box.start()
    box.controller.wait_for(lambda r: r["session"]["state"] == "idle" and len(model.requests) >= 2)
    assert (box.workspace.worktree / "greeting").read_text() == "hello from the spec"
    assert model.requests[0].model == "claude-haiku-4-5"
    shell = box.exec("tmux", "show-environment", "-g", "GREETING")
    assert shell == "GREETING=hello from the spec"


def test_a_user_nobody_has_heard_of_can_run_it(make_box: Callable[..., AgentBox]) -> None:
    box = make_box(prompt="STEP bash git status && touch made STEP say done")
    box.workspace.give_away(4321)
    box.start("--tmpfs", "/run/secrets:rw,noexec,nosuid,nodev,mode=0700,uid=4321,gid=4321,size=1m", user="4321:4321")
    box.controller.wait_for_state("working")
    box.controller.wait_for_state("idle", after=len(box.controller.reports))
    assert (box.workspace.worktree / "made").stat().st_uid == 4321


def test_what_a_person_set_in_home_stays(make_box: Callable[..., AgentBox]) -> None:
    box = make_box()
    theirs = json.dumps({"theme": "light", "projects": {"/x": {"allowedTools": ["Bash"]}}})
    box.run_aside("sh", "-c", 'printf %s "$1" > /home/agent/.claude.json', "sh", theirs)
    box.start()
    box.controller.wait_for_state("idle")
    now = json.loads(box.exec("cat", "/home/agent/.claude.json"))
    assert now["theme"] == "light"
    assert now["projects"]["/x"] == {"allowedTools": ["Bash"]}
    assert now["projects"][str(box.workspace.worktree)]["hasTrustDialogAccepted"] is True
    assert now["projects"][str(box.workspace.repository)]["hasTrustDialogAccepted"] is True
