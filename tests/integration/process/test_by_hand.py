"""What is killed by hand under an instance that is processes of this machine: it goes on, and no work is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from faults.baseline import Baseline, record
from faults.facts import Engine, read_facts
from faults.verify import check
from scripted_model import ScriptedModel
from support.client_program import claude_of
from support.deadline import eventually
from support.host_system import git, make_repository
from support.together import Together, commits, owner_of_repositories, together

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]  # Docker has the client; nothing else of it is used

IMAGE = "cc-orchestrator/instance:0.1.0"
COMMIT = "STEP bash echo one > one.txt && git add -A && git commit -qm 'Add one' STEP say done"


@pytest.fixture
def system() -> Iterator[Together]:
    with (
        ScriptedModel() as model,
        together({"CCO_CLAUDE": str(claude_of(IMAGE)), "ANTHROPIC_BASE_URL": model.url}) as made,
    ):
        yield made


def test_a_killed_tmux_server_and_a_killed_agent_lose_nothing(system: Together) -> None:
    repository = make_repository(system.directory / "shop", owner=owner_of_repositories())
    system.up("--runtime", "process")
    system.cco("init", str(repository), "--no-manifest")
    spawn = ("spawn", "web", "--repository", "shop", "--permission-mode", "bypassPermissions")
    system.cco(*spawn, "--prompt", COMMIT, "--wait")
    eventually(lambda: commits(repository, "web") == ["Add one", "Begin"], timeout=60, what="the commit is at home")
    system.session_becomes("web", "idle")
    worktree = Path(system.get("web")["status"]["workspace"]["path"])
    leave_drafts(worktree)
    assert_all_belong_to_the_owner(system)
    baseline = look(system)
    assert sorted(Path(draft.path).name for draft in baseline.drafts) == ["idea.txt", "one.txt"]

    for restarts, victim in enumerate((tmux_server_of, agent_of), start=1):
        before = system.get("web")["status"]
        os.kill(victim(system), signal.SIGKILL)
        eventually(
            partial(is_up_again, system, restarts, before),
            timeout=90,
            what=f"{victim.__name__}: it runs again; {system.log.read_text()[-2000:]}",
        )
        check(system.state_dir, baseline, engine=Engine(), within=30)
        assert_all_belong_to_the_owner(system)

    assert (worktree / "one.txt").read_text() == "one, better\n"
    assert (worktree / "notes" / "idea.txt").read_text() == "precious\n"
    assert sorted(git(worktree, "status", "--porcelain").split()) == ["??", "M", "notes/", "one.txt"]
    assert commits(repository, "web") == ["Add one", "Begin"]
    session = system.get("web")["status"]["session"]["session_id"]
    assert session == system.runtime().list()[0].uid, "the conversation goes on"


def assert_all_belong_to_the_owner(system: Together) -> None:
    """Nothing of an instance is root, whether real, effective, saved or for files, nor in a group of others."""
    owner = owner_of_repositories()
    wanted = str(os.getuid() if owner is None else owner)
    (workload,) = system.runtime().list()
    processes = system.processes(workload.id)
    assert len(processes) >= 3  # agent, tmux, Claude
    for each in processes:
        lines = Path(f"/proc/{each.pid}/status").read_text().splitlines()
        status = {name: values.split() for name, _, values in (line.partition(":") for line in lines)}
        assert status["Uid"] == [wanted] * 4, status["Name"]
        if owner is not None:
            assert status["Gid"] == [wanted] * 4, status["Name"]
            assert status["Groups"] == [], status["Name"]


def leave_drafts(worktree: Path) -> None:
    """Change a file and write another one, as the agent would."""
    (worktree / "one.txt").write_text("one, better\n")
    (worktree / "notes").mkdir()
    (worktree / "notes" / "idea.txt").write_text("precious\n")
    owner = owner_of_repositories()
    for path in (worktree / "notes", worktree / "notes" / "idea.txt"):
        if owner is not None:
            os.chown(path, owner, owner)


def look(system: Together) -> Baseline:
    """Return what is known now, after it was found to hold."""
    facts = read_facts(system.state_dir, Engine())
    assert [each.state for each in facts.ours()] == ["running"]
    assert len(facts.engine.volumes) == 1
    baseline = record(facts)
    check(system.state_dir, baseline, engine=Engine(), within=30)
    return baseline


def process_of(system: Together, file: str, wanted: str) -> int:
    """Return the one process of the instance whose file in ``/proc`` has this in it."""
    (workload,) = system.runtime().list()
    (found,) = [
        each.pid for each in system.processes(workload.id) if wanted in Path(f"/proc/{each.pid}/{file}").read_text()
    ]
    return found


def tmux_server_of(system: Together) -> int:
    return process_of(system, "comm", "tmux: server")


def agent_of(system: Together) -> int:
    return process_of(system, "cmdline", "start_agent.py")


def is_up_again(system: Together, restarts: int, before: dict[str, object]) -> bool:
    """Tell whether another Claude is idle, after exactly so many restarts."""
    status = system.get("web")["status"]
    session, old = status["session"] or {}, before["session"]
    assert isinstance(old, dict)
    assert status["restarts"] <= restarts
    return (session.get("state"), status["restarts"]) == ("idle", restarts) and session["pid"] != old["pid"]
