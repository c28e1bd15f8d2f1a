"""Uncommitted work of a deleted instance comes back to the last byte, by the commands a person types."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.host_system import System, git
from support.trees import tree_of

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def spawn(system: System, name: str, repository: Path) -> Path:
    """Start an instance that has said something and is idle; returns its worktree."""
    options = ("--repository", repository.name, "--permission-mode", "bypassPermissions", "--prompt", "STEP say hello")
    system.cco("spawn", name, *options, timeout=180)
    system.state_becomes(name, "idle")
    return Path(system.get(name)["status"]["workspace"]["path"])


def test_a_dirty_worktree_survives_its_deletion(system: System, repository: Path, tmp_path: Path) -> None:
    (repository / "gone.txt").write_text("gone\n")
    (repository / ".gitignore").write_text("*.log\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "More")
    worktree = spawn(system, "dirty", repository)
    script = (
        "printf 'changed\\r\\n' > README.md; rm gone.txt; mkdir -p 'dïr/deep'; printf '\\000\\377' > 'dïr/deep/b in';"
        " : > empty; printf '#!/bin/sh\\n' > run.sh; chmod 755 run.sh; ln -s 'dïr/nowhere' link;"
        " printf '*.tmp\\n' > dïr/.gitignore; echo ignored > x.log; echo ignored > dïr/y.tmp"
    )
    system.docker_exec("dirty", "sh", "-c", f"cd '{worktree}' && {script}")
    before = {path: value for path, value in tree_of(worktree).items() if path not in {"x.log", "dïr/y.tmp"}}
    assert len(before) == 7

    told = system.cco("delete", "instance", "dirty", timeout=180)
    assert not worktree.exists()
    (command,) = [line.split("cco ", 1)[1] for line in told.splitlines() if "cco snapshots restore" in line]

    (found,) = json.loads(system.cco("snapshots", "list", "--repository", repository.name, "-o", "json"))["items"]
    assert (found["instance"], found["branch"], found["files"]) == ("dirty", "dirty", 7)
    assert found["commit"][:12] in command
    shown = system.cco("snapshot", "show", found["commit"][:8], "--diff")
    assert "deleted" in shown
    assert "+#!/bin/sh" in shown

    # To a branch, as the delete said; to a folder; and into a new instance of the same name, on the same branch.
    branch = json.loads(system.cco(*command.split(), "-o", "json"))["branch"]
    assert git(repository, "rev-parse", branch) == found["commit"]
    place = repository.parent / "again"
    system.cco("snapshots", "restore", found["id"], "--to", str(place))
    assert tree_of(place) == before
    assert "?? run.sh" in git(place, "status", "--porcelain")
    git(repository, "worktree", "remove", "--force", str(place))

    worktree = spawn(system, "dirty", repository)
    (worktree / "other.txt").write_text("by a person\n")
    os.chown(worktree / "other.txt", 1000, 1000)
    text = system.cco("snapshots", "restore", found["id"], "--into", "dirty")
    assert "restored into instance/dirty (7 files)" in text
    assert tree_of(worktree) == {**before, "other.txt": ("100644", b"by a person\n")}
    seen = system.docker_exec("dirty", "sh", "-c", f"cd '{worktree}' && git status --porcelain && echo more >> run.sh")
    assert " D gone.txt" in seen.stdout
    refused = system.run_cco("snapshots", "restore", found["id"], "--into", "dirty")
    assert refused.returncode == 4
    assert "nothing was changed: run.sh" in refused.stderr
    assert (worktree / "run.sh").read_text() == "#!/bin/sh\nmore\n"
    assert "SnapshotRestored" in system.cco("events", "--for", "instance/dirty")
    assert tmp_path.exists()
