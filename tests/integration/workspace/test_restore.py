"""A snapshot comes back as it was taken, and never over anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.errors import CcoError, Retryable, Terminal
from controller.workspace import changes
from controller.workspace.types import (
    Presence,
    RestoreTarget,
    SavedWork,
    ToBranch,
    ToFolder,
    ToWorkspace,
    Unsaved,
    WorkspaceRef,
)
from support.git_world import GitWorld
from support.kept_work import untouched
from support.trees import tree_of


def saved(world: GitWorld, ref: WorkspaceRef) -> SavedWork:
    commit = world.workspaces.snapshot(ref, message="Before a test")
    (work,) = [each for each in world.workspaces.snapshots(ref.repository) if each.commit == commit]
    return work


def a_change(world: GitWorld, ref: WorkspaceRef) -> SavedWork:
    """Let the agent change, make, remove and turn files, and save that."""
    world.agent_writes(ref, "thing/one.txt", "one")
    world.agent_commits(ref, "gone.txt", "gone")
    world.collect(ref)
    root = Path(ref.worktree)
    (root / "gone.txt").unlink()
    (root / "thing/one.txt").unlink()
    (root / "thing").rmdir()
    world.agent_writes(ref, "thing", "a file now\n")
    world.agent_writes(ref, "README.md", "hello\r\nchanged\n").chmod(0o755)
    world.agent_writes(ref, "dïr/new\nfile", b"\x00\xff")
    world.agent_writes(ref, "empty", "")
    (root / "link").symlink_to("dïr/nowhere")
    return saved(world, ref)


def refused(reason: str, act: Callable[[], object]) -> CcoError:
    with pytest.raises(CcoError) as caught:
        act()
    assert caught.value.reason == reason
    return caught.value


def restore(world: GitWorld, work: SavedWork, target: RestoreTarget) -> Callable[[], object]:
    return lambda: world.workspaces.restore_snapshot(str(world.repository), work.id, target)


# To a branch ------------------------------------------------------------------------------------------------------


def test_a_branch_has_the_snapshot_at_its_tip(any_world: GitWorld) -> None:
    world = any_world
    work = a_change(world, world.made())
    done = world.workspaces.restore_snapshot(str(world.repository), work.id, ToBranch())
    assert done.branch == f"restore/web-{work.taken_at:%Y%m%dT%H%M%SZ}"
    assert world.user("rev-parse", f"refs/heads/{done.branch}") == work.commit
    named = world.workspaces.restore_snapshot(str(world.repository), work.id, ToBranch("again"))
    assert (named.branch, named.files) == ("again", work.files)


def test_a_branch_that_exists_is_left_alone(world: GitWorld) -> None:
    work = a_change(world, world.made())
    before = world.refs("refs/heads/")
    for name, reason in {"main": "BranchExists", "main/x": "BranchNameTaken", "-x": "InvalidBranch"}.items():
        refused(reason, restore(world, work, ToBranch(name)))
    assert world.refs("refs/heads/") == before


# To a folder ------------------------------------------------------------------------------------------------------


def test_a_folder_is_a_worktree_as_the_agent_left_it(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    work = a_change(world, ref)
    before = tree_of(Path(ref.worktree))
    status = world.agent(ref, "status", "--porcelain")
    world.workspaces.remove(ref)
    place = world.base / "wörk/again"
    os.chown(world.base, world.owner, world.owner)
    done = world.workspaces.restore_snapshot(str(world.repository), work.id, ToFolder(str(place)))
    assert (done.path, done.files, done.branch, done.skipped) == (str(place), work.files, None, ())
    assert tree_of(place) == before
    assert world.user("rev-parse", "HEAD", cwd=place) == work.base
    assert world.user("status", "--porcelain", cwd=place) == status
    assert str(place) in world.user("worktree", "list")
    assert {path.lstat().st_uid for path in place.rglob("*")} == {world.owner}
    assert world.user("fsck", "--no-dangling") == ""


def test_files_that_exist_are_never_written_over(world: GitWorld) -> None:
    ref = world.made()
    work = a_change(world, ref)
    taken = world.base / "taken"
    world.write(taken / "mine.txt", "mine", world.owner)
    (world.base / "link").symlink_to(taken)
    registered = world.user("worktree", "list")
    places = {
        str(taken): "PathOccupied",
        str(taken / "mine.txt"): "PathOccupied",
        str(world.base / "link"): "PathOccupied",
        str(world.repository / ".git/x"): "InvalidPath",
        f"{ref.worktree}/x": "InvalidPath",
        str(world.state_dir / "x"): "InvalidPath",
        "relative": "InvalidPath",
        f"{taken}/../x": "InvalidPath",
    }
    for place, reason in places.items():
        refused(reason, restore(world, work, ToFolder(place)))
    assert tree_of(taken) == {"mine.txt": ("100644", b"mine")}
    assert world.user("worktree", "list") == registered


def test_folders_are_made_with_the_rights_of_the_repositorys_owner(world: GitWorld) -> None:
    work = a_change(world, world.made())
    closed = world.base / "closed"
    closed.mkdir(mode=0o755)
    if world.owner == os.geteuid():
        closed.chmod(0o555)
    refused("PermissionDenied", restore(world, work, ToFolder(str(closed / "x"))))
    assert list(closed.iterdir()) == []


def test_a_folder_that_cannot_be_filled_is_taken_away_again(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    work = a_change(world, world.made())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("controller.workspace.restore.carry_out", full)
    registered = world.user("worktree", "list")
    place = world.base / "new"
    error = refused("DiskFull", restore(world, work, ToFolder(str(place))))
    assert isinstance(error, Retryable)
    assert not place.exists()
    assert world.user("worktree", "list") == registered


def test_line_ends_and_filters_change_nothing(world: GitWorld) -> None:
    world.write(world.repository / ".gitattributes", "*.bat text eol=crlf\n*.txt filter=odd\n", world.owner)
    world.write(world.repository / "same.bat", "echo\n", world.owner)
    world.write(world.repository / "run.bat", "echo\n", world.owner)
    world.write(world.repository / "a.txt", "stored", world.owner)
    world.user("add", ".")
    world.user("commit", "-qm", "Windows")
    world.user("config", "filter.odd.smudge", "sed s/stored/smudged/")
    ref = world.made()
    assert (Path(ref.worktree) / "same.bat").read_bytes() == b"echo\r\n"
    world.agent_writes(ref, "run.bat", "echo\r\nunix\n")
    world.agent_writes(ref, "new.bat", "unix\n")
    work = saved(world, ref)
    before = tree_of(Path(ref.worktree))
    place = world.base / "new"
    world.workspaces.restore_snapshot(str(world.repository), work.id, ToFolder(str(place)))
    assert tree_of(place) == before


def test_repository_made_where_one_was_brought_back(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "inner/.git/x", "first")
    first = saved(world, ref)
    (Path(ref.worktree) / "inner/.git/x").unlink()
    (Path(ref.worktree) / "inner/.git").rmdir()
    restore(world, first, ToWorkspace(ref))()
    world.agent_writes(ref, "inner/.git/x", "second")
    second = saved(world, ref)
    assert world.unsaved(ref) is Unsaved.SNAPSHOTTED
    with untouched(Path(ref.worktree)):
        restore(world, second, ToWorkspace(ref))()
    restore(world, second, ToFolder(str(world.base / "new")))()
    inner = world.base / "new/inner"
    assert (inner / ".git-saved/x").read_text() == "first"
    assert (inner / ".git-saved-2/x").read_text() == "second"


def test_submodules_are_told_and_not_written(world: GitWorld) -> None:
    ref = world.made()
    world.agent_commits_repository(ref, "inner")
    world.collect(ref)
    work = saved(world, ref)
    place = world.base / "new"
    done = world.workspaces.restore_snapshot(str(world.repository), work.id, ToFolder(str(place)))
    assert done.skipped == ("inner",)
    assert (place / "inner/code.txt").read_text() == "code"
    assert (place / "inner/.git-saved/HEAD").exists()


# To a living worktree ---------------------------------------------------------------------------------------------


def again(world: GitWorld, ref: WorkspaceRef) -> WorkspaceRef:
    """Delete the instance and make one of the same name on the same branch."""
    world.workspaces.remove(ref)
    return world.made(ref.instance, branch=ref.branch)


def test_a_new_instance_takes_up_the_work_of_the_old_one(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    work = a_change(world, ref)
    before, status = tree_of(Path(ref.worktree)), world.agent(ref, "status", "--porcelain")
    ref = again(world, ref)
    done = world.workspaces.restore_snapshot(str(world.repository), work.id, ToWorkspace(ref))
    assert (done.path, done.files, done.previous) == (ref.worktree, work.files, None)
    assert tree_of(Path(ref.worktree)) == before
    assert world.agent(ref, "status", "--porcelain") == status
    assert {path.lstat().st_uid for path in Path(ref.worktree).rglob("*")} <= {world.agent_owner, world.owner}
    world.agent(ref, "add", "--all")
    assert not list(Path(ref.worktree).parent.glob("*.restore-*"))
    repeated = world.workspaces.restore_snapshot(str(world.repository), work.id, ToWorkspace(ref))
    assert (repeated.files, repeated.previous) == (0, None)


def test_other_uncommitted_work_stays_and_is_saved_first(world: GitWorld) -> None:
    ref = world.made()
    work = a_change(world, ref)
    ref = again(world, ref)
    world.agent_writes(ref, "other.txt", "other")
    world.agent_writes(ref, "empty", "")
    done = world.workspaces.restore_snapshot(str(world.repository), work.id, ToWorkspace(ref))
    assert done.files == work.files - 1
    assert (Path(ref.worktree) / "other.txt").read_text() == "other"
    assert done.previous is not None
    assert "other.txt" in world.files_of(done.previous)
    assert "thing/one.txt" in world.files_of(done.previous)
    assert work.id in world.user("log", "-1", "--format=%s", done.previous)


def swapped_for_a_link(world: GitWorld, root: Path) -> None:
    (root / "thing").rename(world.base / "thing")
    (root / "thing").symlink_to(world.base / "thing")


def written(name: str, content: str) -> Callable[[GitWorld, Path], object]:
    return lambda world, root: world.write(root / name, content, world.agent_owner)


CONFLICTS: dict[str, Callable[[GitWorld, Path], object]] = {
    "modified here and there": written("README.md", "of mine\n"),
    "new here and there": written("empty", "not empty"),
    "modified there, removed here": lambda _, root: (root / "README.md").unlink(),
    "removed there, modified here": written("gone.txt", "not gone"),
    "a folder in the way": written("empty/mine.txt", "mine"),
    "a file in the way of a folder": written("dïr", "mine"),
    "more in a folder that becomes a file": written("thing/two.txt", "mine"),
    "a link in the way of a folder": lambda _, root: (root / "dïr").symlink_to("/etc"),
    "a pipe in the way": lambda _, root: os.mkfifo(root / "empty"),
    "a link instead of a folder": swapped_for_a_link,
}


def test_a_single_conflict_changes_nothing(world: GitWorld) -> None:
    ref = world.made()
    work = a_change(world, ref)
    ref = again(world, ref)
    root = Path(ref.worktree)
    for number, (name, happens) in enumerate(CONFLICTS.items()):
        happens(world, root)
        before, refs = tree_of(root), world.refs()
        error = refused("RestoreConflict", restore(world, work, ToWorkspace(ref)))
        assert isinstance(error, Terminal)
        assert "nothing was changed" in error.message, name
        assert tree_of(root) == before, name
        assert world.refs() == refs, name
        root.rename(world.base / f"set-aside-{number}")
        world.create(ref)


def test_ignored_files_count_as_files(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "build/out.o", "saved")
    work = saved(world, ref)
    ref = again(world, ref)
    world.agent_writes(ref, ".gitignore", "build/\n")
    world.agent_writes(ref, "build/out.o", "precious")
    error = refused("RestoreConflict", restore(world, work, ToWorkspace(ref)))
    assert "build/out.o" in error.message
    assert (Path(ref.worktree) / "build/out.o").read_text() == "precious"


def test_a_file_that_was_committed_meanwhile_is_a_conflict_and_the_same_file_is_not(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "new.txt", "one")
    work = saved(world, ref)
    world.agent_commits(ref, "new.txt", "one")
    assert world.workspaces.restore_snapshot(str(world.repository), work.id, ToWorkspace(ref)).files == 0
    world.agent_commits(ref, "new.txt", "two")
    refused("RestoreConflict", restore(world, work, ToWorkspace(ref)))


def test_a_file_that_changes_at_the_last_moment_is_left_alone(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    world.agent_writes(ref, "README.md", "saved")
    work = saved(world, ref)
    world.agent_writes(ref, "README.md", "hello\n")
    real = changes.stage

    def meanwhile(*values: object) -> object:
        world.agent_writes(ref, "README.md", "just now")
        return real(*values)  # type: ignore[arg-type]  # whatever it is called with

    monkeypatch.setattr("controller.workspace.restore.stage", meanwhile)
    assert isinstance(refused("WorktreeChanging", restore(world, work, ToWorkspace(ref))), Retryable)
    assert (Path(ref.worktree) / "README.md").read_text() == "just now"
    assert not list(Path(ref.worktree).parent.glob("*.restore-*"))


def test_what_a_crash_left_beside_the_worktree_goes(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "new.txt", "x")
    work = saved(world, ref)
    left = Path(f"{ref.worktree}.restore-{ref.uid[:8]}")
    world.write(left / "0", "half", world.owner)
    world.workspaces.remove(ref)
    assert not left.exists()
    ref = world.made()
    left = Path(f"{ref.worktree}.restore-{ref.uid[:8]}")
    world.write(left / "0", "half", world.owner)
    world.workspaces.restore_snapshot(str(world.repository), work.id, ToWorkspace(ref))
    assert not left.exists()


def test_a_workspace_that_is_not_whole_takes_nothing(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "new.txt", "x")
    work = saved(world, ref)
    refused("WorktreeNotReady", restore(world, work, ToWorkspace(world.ref("other"))))
    (Path(ref.worktree) / ".git").unlink()
    error = refused("WorktreeNotReady", restore(world, work, ToWorkspace(ref)))
    assert "cco why web" in error.message


def test_a_snapshot_made_by_somebody_else_writes_nowhere_it_should_not(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "new.txt", "x")
    work = saved(world, ref)
    blob = world.user("rev-parse", f"{work.commit}:new.txt")
    for name in ("..", ".git", ".GIT", "."):
        tree = world.user_input(f"100644 blob {blob}\tescaped\n", "mktree")
        outer = world.user_input(f"040000 tree {tree}\t{name}\n", "mktree")
        commit = world.user("commit-tree", "-m", "Evil", "-p", "main", outer)
        identity = f"{work.id[:-12]}{commit[:12]}"
        world.user("update-ref", f"refs/cco/snapshots/evil/{identity}", commit)
        evil = next(each for each in world.workspaces.snapshots(str(world.repository)) if each.id == identity)
        before = tree_of(Path(ref.worktree).parent)
        refused("SnapshotUnsafe", restore(world, evil, ToWorkspace(ref)))
        refused("SnapshotUnsafe", restore(world, evil, ToFolder(str(world.base / "new"))))
        assert tree_of(Path(ref.worktree).parent) == before
        assert not (world.base / "new").exists()


def test_modes_come_back(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "run.sh", "#!/bin/sh\n").chmod(0o755)
    world.agent_writes(ref, "plain", "x").chmod(0o600)
    work = saved(world, ref)
    ref = again(world, ref)
    previous = os.umask(0o077)  # the controller's own
    try:
        world.workspaces.restore_snapshot(str(world.repository), work.id, ToWorkspace(ref))
        place = world.base / "new"
        world.workspaces.restore_snapshot(str(world.repository), work.id, ToFolder(str(place)))
    finally:
        os.umask(previous)
    for root in (Path(ref.worktree), place):
        assert stat.S_IMODE((root / "run.sh").stat().st_mode) == 0o755
        assert stat.S_IMODE((root / "plain").stat().st_mode) == 0o644
    assert world.workspaces.inspect(ref).presence is Presence.READY
