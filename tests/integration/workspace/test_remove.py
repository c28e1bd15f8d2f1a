"""Nothing unsaved is ever removed, and nothing of ours is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.errors import Retryable
from controller.workspace.types import Presence
from support.git_world import GitWorld


def test_saved_workspace_goes_and_branch_snapshots_and_history_stay(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    amended = world.agent_commits(ref)
    world.collect(ref)
    world.agent(ref, "commit", "-q", "--amend", "-m", "Better")
    commit = world.agent(ref, "rev-parse", "HEAD")
    world.collect(ref)
    world.agent_writes(ref, "new.txt", "x")
    snapshot = world.workspaces.snapshot(ref, message="x")
    assert snapshot is not None

    world.workspaces.remove(ref)

    assert world.workspaces.inspect(ref).presence is Presence.ABSENT
    assert not Path(ref.worktree).parent.exists()
    assert list(Path(ref.private).parent.iterdir()) == []
    assert world.user("worktree", "list").count("\n") == 0
    assert world.head(ref) == commit
    assert all(world.reachable(each) for each in (amended, commit, snapshot))
    assert world.refs("refs/cco/instances/web/uids/") == {}
    assert not (world.repository / ".git/worktrees").exists()


def test_removing_again_and_removing_nothing_is_success(world: GitWorld) -> None:
    ref = world.made()
    world.workspaces.remove(ref)
    world.workspaces.remove(ref)
    world.workspaces.remove(world.ref("other"))


def test_unsaved_files_are_refused(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "new.txt", "x")
    with pytest.raises(Retryable) as caught:
        world.workspaces.remove(ref)
    assert caught.value.reason == "UnsavedWork"
    assert world.workspaces.inspect(ref).presence is Presence.READY


@pytest.mark.parametrize("keep", [False, True])
def test_commits_that_are_not_home_are_refused(world: GitWorld, *, keep: bool) -> None:
    ref = world.made()
    world.agent_commits(ref)
    with pytest.raises(Retryable):
        world.workspaces.remove(ref, keep_worktree=keep)
    world.agent(ref, "switch", "-q", "--detach")
    world.collect(ref)
    world.workspaces.remove(ref, keep_worktree=keep)


def test_kept_worktree_belongs_to_the_user(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    world.agent_writes(ref, "new.txt", "x")
    world.workspaces.remove(ref, keep_worktree=True)
    assert world.user("status", "--porcelain", cwd=ref.worktree) == "?? new.txt"
    assert "locked" not in world.user("worktree", "list")
    assert not Path(ref.private).exists()
    assert world.workspaces.inspect(ref).presence is Presence.FOREIGN


def test_removed_folder_does_not_keep_the_rest(world: GitWorld) -> None:
    ref = world.made()
    Path(ref.worktree).rename(world.base / "gone")
    world.workspaces.remove(ref)
    assert world.workspaces.inspect(ref).presence is Presence.ABSENT
    assert world.user("worktree", "list").count("\n") == 0


def test_links_are_removed_and_not_followed(world: GitWorld) -> None:
    world.write(world.base / "precious/file.txt", "x", world.owner)
    ref = world.made()
    world.agent_writes(ref, ".gitignore", "*\n")
    world.agent(ref, "add", "-f", ".gitignore")
    world.agent(ref, "commit", "-qm", "Ignore")
    world.collect(ref)
    for folder in (ref.worktree, ref.private):
        (Path(folder) / "link").symlink_to(world.base / "precious")
    world.workspaces.remove(ref)
    assert (world.base / "precious/file.txt").read_text() == "x"


def test_folders_without_permissions_and_very_deep_ones_go_too(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, ".gitignore", "deep/\nclosed/\n")
    world.agent(ref, "add", ".")
    world.agent(ref, "commit", "-qm", "Ignore")
    world.collect(ref)
    world.agent_writes(ref, "closed/file.txt", "x").parent.chmod(0)
    (Path(ref.worktree) / "deep").mkdir()
    fd = os.open(Path(ref.worktree) / "deep", os.O_DIRECTORY)
    for _ in range(3000):
        os.mkdir("deep", dir_fd=fd)
        inner = os.open("deep", os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    world.workspaces.remove(ref)
    assert not Path(ref.worktree).exists()


def test_worktrees_of_others_stay(world: GitWorld) -> None:
    first, second = world.made("one"), world.made("two")
    world.workspaces.remove(first)
    assert world.workspaces.inspect(second).presence is Presence.READY
    world.agent_commits(second)
    assert world.collect(second).moved
