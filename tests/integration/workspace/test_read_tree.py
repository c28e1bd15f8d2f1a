"""The files of a commit are read once, as long as not too many are kept."""

from __future__ import annotations

import pytest

from controller.workspace import scan
from controller.workspace.git import Git
from support.git_world import GitWorld


@pytest.fixture
def git(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> Git:
    monkeypatch.setattr(scan, "_trees", scan._Trees())  # noqa: SLF001  # what earlier tests read is not there
    status = world.repository.stat()
    return Git(str(world.repository / ".git"), (status.st_uid, status.st_gid))


def test_a_commit_is_read_once(world: GitWorld, git: Git) -> None:
    commit = world.user("rev-parse", "HEAD").strip()
    names = world.user("ls-tree", "-r", "--name-only", "HEAD").split()

    first = scan.read_tree(git, commit)

    assert sorted(first) == sorted(names)
    assert scan.read_tree(git, commit) is first


def test_large_trees_are_not_kept(world: GitWorld, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = world.user("rev-parse", "HEAD").strip()
    monkeypatch.setattr(scan, "_REMEMBERED_FILES", 0)

    assert scan.read_tree(git, commit) == scan.read_tree(git, commit)
    assert scan.read_tree(git, commit) is not scan.read_tree(git, commit)
