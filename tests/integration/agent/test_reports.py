"""When a report comes, and what it costs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from support.agent_box import AgentBox, docker, git

pytestmark = pytest.mark.docker


def test_heartbeats_come_and_the_clock_of_the_state_stays(make_box: Callable[..., AgentBox]) -> None:
    box = make_box(heartbeat_seconds=0.5)
    box.start()
    first = box.controller.wait_for_state("idle")
    began = time.monotonic()
    later = box.controller.wait_for(lambda r: r["seq"] >= first["seq"] + 5)
    assert time.monotonic() - began > 1.0, "they came faster than asked for"
    assert later["session"]["since"] == first["session"]["since"]
    assert later["sent_at"] > first["sent_at"]


def test_a_person_who_looks_is_counted(box: AgentBox) -> None:
    attach = ["docker", "exec", "--interactive", "--tty", box.name, "tmux", "attach", "-t", "cc-orchestrator-web"]
    command = ["script", "--quiet", "--command", " ".join(attach), "/dev/null"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as person:
        box.controller.wait_for(lambda r: r["tmux"]["clients"] == 1)
        box.exec("tmux", "detach-client", "-s", "cc-orchestrator-web")
        box.controller.wait_for(lambda r: r["tmux"]["clients"] == 0, after=len(box.controller.reports))
        assert person.wait(5) == 0


def test_a_moved_branch_is_told(box: AgentBox) -> None:
    before = box.controller.reports[-1]["refs_version"]
    git(f"--git-dir={box.workspace.private}", "branch", "other", cwd=box.workspace.root)
    box.controller.wait_for(lambda r: r["refs_version"] != before)
    seen = len(box.controller.reports)
    git(f"--git-dir={box.workspace.private}", "branch", "-D", "other", cwd=box.workspace.root)
    # The same refs have the same version again.
    box.controller.wait_for(lambda r: r["refs_version"] == before, after=seen)


def test_a_controller_that_comes_back_is_told_everything(box: AgentBox) -> None:
    box.controller.close()
    box.controller.credentials = {"ANTHROPIC_API_KEY": "sk-ant-api03-the-next-key-0123456789-abcdef"}
    seen = len(box.controller.reports)
    box.controller.__enter__()
    report = box.controller.wait_for_state("idle", after=seen)
    assert report["boot"] == box.controller.reports[0]["boot"]
    assert box.exec("cat", "/run/secrets/ANTHROPIC_API_KEY") == box.controller.credentials["ANTHROPIC_API_KEY"]


def test_a_new_configuration_is_not_taken_until_the_next_start(box: AgentBox) -> None:
    box.configure(config_hash="hash-2", heartbeat_seconds=0.3)
    box.controller.close()
    seen = len(box.controller.reports)
    box.controller.__enter__()
    assert box.controller.wait_for_state("idle", after=seen)["config_hash"] == "hash-1"
    docker("restart", "--time", "10", box.name)
    box.controller.wait_for(lambda r: r["config_hash"] == "hash-2" and r["session"]["state"] == "idle", after=seen)


def agent_seconds(box: AgentBox) -> float:
    """Processor time of the agent itself."""
    pid = box.exec("pgrep", "--full", "^/opt/cco/venv/bin/python -I -m agent")
    user, system = box.exec("cat", f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / 100


def test_an_idle_agent_costs_next_to_nothing(box: AgentBox) -> None:
    time.sleep(1)
    before, began = agent_seconds(box), time.monotonic()
    time.sleep(12)
    share = (agent_seconds(box) - before) / (time.monotonic() - began)
    assert share < 0.005, f"{share:.2%} of a core"
