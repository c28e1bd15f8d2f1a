"""The whole system without Docker: ``cco up``, the real client, a scripted model, and a controller that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripted_model import ScriptedModel
from support.agent_box import docker
from support.client_program import claude_of
from support.deadline import eventually
from support.host_system import KEY, git, make_repository
from support.together import Together, commits, owner_of_repositories, together

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]  # Docker has the client; nothing else of it is used

IMAGE = "cc-orchestrator/instance:0.1.0"


@pytest.fixture(scope="module")
def client() -> Path:
    return claude_of(IMAGE)


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(key=KEY) as server:
        yield server


@pytest.fixture
def system(client: Path, model: ScriptedModel) -> Iterator[Together]:
    with together({"CCO_CLAUDE": str(client), "ANTHROPIC_BASE_URL": model.url}) as made:
        yield made


@pytest.fixture
def repository(system: Together) -> Path:
    return make_repository(system.directory / "shop", owner=owner_of_repositories())


def committing(name: str) -> str:
    return f"STEP bash echo {name} > {name}.txt && git add -A && git commit -qm 'Add {name}' STEP say done"


def test_a_life_without_docker(system: Together, repository: Path, model: ScriptedModel) -> None:
    system.up("--runtime", "process")
    assert "NOT isolated" in system.log.read_text()
    system.cco("init", str(repository), "--no-manifest")
    spawn = ("spawn", "web", "--repository", "shop", "--permission-mode", "bypassPermissions")
    system.cco(*spawn, "--prompt", committing("one"), "--wait")

    # Claude's plain `git commit` went to the private git directory, and from there to the user's branch.
    eventually(lambda: commits(repository, "web") == ["Add one", "Begin"], timeout=60, what="the commit is at home")
    system.session_becomes("web", "idle")
    worktree = Path(system.get("web")["status"]["workspace"]["path"])
    assert git(worktree, "status", "--porcelain") == ""
    assert git(repository, "for-each-ref", "refs/cco/instances/web/") != ""
    before = system.get("web")["status"]
    (workload,) = system.runtime().list()
    assert_no_key_shows(system, workload.id)
    # Other users of the machine do not read prompts.
    assert (system.state_dir / "instances" / "web").stat().st_mode & 0o007 == 0
    assert_a_terminal_shows_claude(system, workload.uid)

    # Killed in the middle of it: the next one finds everything as it is, and starts nothing.
    system.end(signal.SIGKILL)
    assert system.runtime().list() == (workload,)
    system.up("--runtime", "process")
    eventually(lambda: system.get("web")["status"]["session"] is not None, timeout=60, what="the agent is heard")
    after = system.get("web")["status"]
    assert system.runtime().list() == (workload,)
    assert (after["session"]["pid"], after["restarts"]) == (before["session"]["pid"], before["restarts"])

    # Suspended nothing of it runs; resumed the conversation goes on.
    system.cco("instance", "suspend", "web")
    assert system.processes(workload.id) == set()
    system.cco("instance", "resume", "web")
    system.session_becomes("web", "idle")
    assert system.get("web")["status"]["session"]["session_id"] == before["session"]["session_id"]
    system.cco("send", "web", committing("two"))
    eventually(lambda: commits(repository, "web")[0] == "Add two", timeout=60, what="the second commit is at home")
    system.session_becomes("web", "idle")

    # Started again, in another way: it still has its key, which only the newest run's folder holds.
    system.cco("instance", "restart", "web", "--wait")
    system.session_becomes("web", "idle")
    system.cco("send", "web", committing("three"))
    eventually(lambda: commits(repository, "web")[0] == "Add three", timeout=60, what="the third commit is at home")
    assert {record.status for record in model.requests} == {200}

    # Deleted it leaves the branch, and nothing else.
    system.cco("delete", "instance", "web")
    assert system.processes(workload.id) == set()
    assert sorted(path.name for path in (system.state_dir / "process").rglob("*")) == ["homes", "workloads"]
    assert not worktree.exists()
    assert commits(repository, "web") == ["Add three", "Add two", "Add one", "Begin"]
    assert system.end(signal.SIGINT) == 0


def assert_no_key_shows(system: Together, workload_id: str) -> None:
    """Look at what anybody of the same user sees of the processes; Claude itself needs none there either."""
    processes = system.processes(workload_id)
    assert len(processes) >= 3  # agent, tmux, Claude
    (agent,) = [each for each in processes if "start_agent.py" in Path(f"/proc/{each.pid}/cmdline").read_text()]
    shim = int(Path(f"/proc/{agent.pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])
    for pid in (shim, *(each.pid for each in processes)):
        for file in ("cmdline", "environ"):
            assert KEY.encode() not in Path(f"/proc/{pid}/{file}").read_bytes()


def assert_a_terminal_shows_claude(system: Together, uid: str) -> None:
    argv = ["tmux", "-u", "attach-session", "-r", "-t", "=cc-orchestrator-web"]
    with system.runtime().attach(uid, argv, columns=100, rows=30) as terminal:
        screen = b""
        deadline = time.monotonic() + 30
        while b"done" not in screen:
            assert time.monotonic() < deadline, screen
            screen += terminal.read()
        terminal.resize(120, 40)
    # What a person runs on this machine, also from inside a tmux of their own.
    command = system.cco("attach", "web", "--read-only", "--print").split()
    assert command[:2] == ["tmux", "-S"]
    listed = subprocess.run(["tmux", "-S", command[2], "list-sessions"], capture_output=True, text=True, check=True)
    assert listed.stdout.startswith("cc-orchestrator-web:")


def test_a_second_one_is_refused_at_once(system: Together) -> None:
    system.up("--runtime", "process")
    assert system.process is not None
    began = time.monotonic()
    done = system.run("up")
    took = time.monotonic() - began
    assert done.returncode != 0
    assert f"process {system.process.pid}" in done.stderr
    assert took < max(1.0, 4 * os.getloadavg()[0] / (os.cpu_count() or 1)), "a second, on a machine that is not busy"
    assert system.end() == 0


def test_a_client_that_is_missing_is_named(system: Together, repository: Path) -> None:
    system.environment["CCO_CLAUDE"] = "/nowhere/claude"
    system.up("--runtime", "process")
    system.cco("init", str(repository), "--no-manifest")
    assert system.run("spawn", "web", "--repository", "shop", "--wait").returncode != 0
    told = system.cco("why", "web")
    assert "'/nowhere/claude' is not on this machine" in told
    assert "npm install" in told
    system.cco("delete", "instance", "web")
    assert system.end() == 0


def test_without_an_engine_it_falls_back(system: Together) -> None:
    system.environment["DOCKER_HOST"] = f"unix://{system.directory}/nobody.sock"
    system.up()
    assert "runtime process" in system.log.read_text()
    assert "NOT isolated" in system.log.read_text()
    assert system.end() == 0
    assert docker("version", "--format", "{{.Server.Version}}") != "", "which is not for want of an engine here"
