"""``make up`` and ``make down`` where no Docker engine can be had."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.runtime.process.processes import Identity
from scripted_model import ScriptedModel
from support.client_program import claude_of
from support.deadline import eventually
from support.host_system import ROOT, git, make_repository
from support.together import Together, owner_of_repositories, together

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]  # Docker has the client; nothing else of it is used

IMAGE = "cc-orchestrator/instance:0.1.0"


@pytest.fixture
def system() -> Iterator[Together]:
    with ScriptedModel() as model, together({"ANTHROPIC_BASE_URL": model.url}) as made:
        made.environment["CCO_CLAUDE"] = str(claude_of(IMAGE))
        made.environment["DOCKER_HOST"] = f"unix://{made.directory}/nobody.sock"
        yield made
        script(made, "down")


def script(system: Together, name: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "scripts" / f"{name}.sh")],
        env={**system.environment, **changes},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_it_falls_back_with_a_notice_and_loses_nothing(system: Together) -> None:
    repository = make_repository(system.directory / "shop", owner=owner_of_repositories())
    done = script(system, "up")
    assert done.returncode == 0, done.stderr
    assert "NOT isolated" in done.stderr
    pid = (system.state_dir / "up.pid").read_text().strip()
    assert "NOT isolated" in (system.state_dir / "up.log").read_text()
    assert b"ANTHROPIC_API_KEY" not in Path(f"/proc/{pid}/environ").read_bytes()

    system.cco("init", str(repository), "--no-manifest")
    system.cco("spawn", "web", "--repository", "shop", "--permission-mode", "bypassPermissions", "--wait")
    worktree = Path(system.get("web")["status"]["workspace"]["path"])
    (worktree / "draft.txt").write_text("not committed\n")
    (workload,) = system.runtime().list()
    assert script(system, "up").returncode == 0, "once more changes nothing"
    assert (system.state_dir / "up.pid").read_text().strip() == pid

    done = script(system, "down")
    assert done.returncode == 0, done.stderr
    assert system.processes(workload.id) == set()
    server = Identity.of(int(pid))
    assert server is None or not server.is_alive()  # init takes its time to bury the dead
    assert (worktree / "draft.txt").read_text() == "not committed\n"
    assert "draft.txt" in git(worktree, "status", "--porcelain")

    assert script(system, "up").returncode == 0
    eventually(
        lambda: (system.get("web")["status"]["session"] or {}).get("state") == "idle", timeout=90, what="it goes on"
    )
    assert system.get("web")["status"]["session"]["session_id"] == workload.uid
    system.cco("delete", "instance", "web")


def test_it_can_be_told_not_to(system: Together) -> None:
    done = script(system, "up", CCO_RUNTIME="docker")
    assert done.returncode != 0
    assert "no Docker engine answers" in done.stderr
    assert not (system.state_dir / "up.pid").exists()


def test_a_client_that_is_missing_is_named_before_anything_starts(system: Together) -> None:
    done = script(system, "up", CCO_CLAUDE="/nowhere/claude")
    assert done.returncode != 0
    assert "npm install" in done.stderr
    assert not (system.state_dir / "up.pid").exists()
