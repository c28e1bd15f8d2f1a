"""A row that the database lost, in the real system: everything stays, and ``cco gc`` tells of all of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from controller.resources.orphan import Obstacle, OrphanKind, OrphanList
from support.host_system import System, git
from support.lost_rows import forget_instance

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]


def orphans(system: System, name: str) -> dict[OrphanKind, Obstacle | None]:
    found = OrphanList.model_validate(json.loads(system.cco("gc", "-o", "json")))
    assert found.skipped == ()
    return {each.kind: each.obstacle for each in found.items if each.instance == name}


def test_a_lost_row_costs_nothing(system: System, repository: Path) -> None:
    arguments = ("--repository", repository.name, "--permission-mode", "bypassPermissions")
    system.cco("spawn", "lost", *arguments, "--prompt", "STEP bash echo draft > draft.txt STEP say done")
    system.wait("lost", "condition=Ready")
    system.state_becomes("lost", "idle")
    instance = system.get("lost")
    container, worktree = system.container("lost"), Path(instance["status"]["workspace"]["path"])
    assert orphans(system, "lost") == {}

    forget_instance(system.state_dir / "state.db", instance["metadata"]["uid"])
    everything = [OrphanKind.WORKLOAD, OrphanKind.HOME, OrphanKind.WORKTREE, OrphanKind.GIT_DIRECTORY]
    assert dict.fromkeys(everything, Obstacle.RUNNING).items() <= orphans(system, "lost").items()
    system.cco("gc", "--yes")
    running = ["docker", "inspect", "--format", "{{.State.Running}}", container]
    assert subprocess.run(running, check=True, capture_output=True, text=True, timeout=30).stdout.strip() == "true"

    # Stopped by a person, it is still too young to go; the work is where it was.
    subprocess.run(["docker", "stop", "--time", "5", container], check=True, capture_output=True, timeout=60)
    assert dict.fromkeys(everything, Obstacle.TOO_YOUNG).items() <= orphans(system, "lost").items()
    shown = system.run_cco("gc", "--yes")
    assert shown.returncode == 0, shown.stderr
    assert "keep: it is younger than an hour" in shown.stdout
    assert (worktree / "draft.txt").read_text() == "draft\n"
    assert str(worktree) in git(repository, "worktree", "list")
