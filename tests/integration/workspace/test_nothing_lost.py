"""No removal where something would be lost: every obstacle is told with the way out, and what is there stays."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.errors import Conflict, Unavailable
from controller.workspace.types import Presence, Unsaved, WorkspaceRef
from support.as_user import as_user, give_state
from support.git_world import GitWorld
from support.kept_work import made_with_work, refused, untouched

UNSAVED: dict[str, Callable[[GitWorld, WorkspaceRef], object]] = {
    "a changed file": lambda world, ref: world.agent_writes(ref, "README.md", "changed"),
    "a new file": lambda world, ref: world.agent_writes(ref, "deep/er/new.txt", ""),
    "a removed file": lambda _, ref: (Path(ref.worktree) / "README.md").unlink(),
    "a mode": lambda _, ref: (Path(ref.worktree) / "README.md").chmod(0o755),
    "a link": lambda _, ref: (Path(ref.worktree) / "link").symlink_to("README.md"),
    "a staged file": lambda world, ref: (world.agent_writes(ref, "new", "x"), world.agent(ref, "add", "new")),
    "a commit": lambda world, ref: world.agent_commits(ref),
    "a stash": lambda world, ref: (world.agent_writes(ref, "README.md", "x"), world.agent(ref, "stash", "-q")),
    "another branch": lambda world, ref: world.agent(ref, "branch", "side"),
}


@pytest.mark.parametrize("name", UNSAVED)
def test_what_is_not_saved_is_not_removed(world: GitWorld, name: str) -> None:
    ref = world.made()
    UNSAVED[name](world, ref)
    refs = world.refs()
    with untouched(Path(ref.worktree), Path(ref.private)):
        refused(lambda: world.workspaces.remove(ref), "UnsavedWork", ref.worktree)
    assert world.refs() == refs
    assert world.workspaces.inspect(ref).presence is Presence.READY
    # The way out of all of them, as the loop goes it.
    world.collect(ref)
    world.workspaces.snapshot(ref, message="x")
    world.workspaces.remove(ref)
    assert not Path(ref.worktree).exists()


def test_a_change_after_the_snapshot_is_not_removed(world: GitWorld) -> None:
    ref = made_with_work(world)
    assert world.workspaces.snapshot(ref, message="x")
    world.agent_writes(ref, "new.txt", "newer")
    with untouched(Path(ref.worktree)):
        refused(lambda: world.workspaces.remove(ref), "UnsavedWork")


@pytest.mark.parametrize("what", ["a file", "a folder", "a tracked file in an ignored folder"])
def test_what_the_controllers_user_cannot_read_is_named_and_stays(world: GitWorld, what: str) -> None:
    """Root reads everything, so an ordinary user's controller does it here, in a process of its own."""
    ref = made_with_work(world)
    root = Path(ref.worktree)
    closed = {"a file": root / "new.txt", "a folder": root / "shut", "a tracked file in an ignored folder": root / "ig"}
    if what != "a file":
        world.agent_writes(ref, f"{closed[what].name}/inside.txt", "precious")
    if what == "a tracked file in an ignored folder":
        world.agent_writes(ref, ".gitignore", "ig/\n")
        world.agent(ref, "add", "-f", ".gitignore", "ig/inside.txt")
        world.agent(ref, "commit", "-qm", "Ignore")
        world.collect(ref)
    give_state(world)
    closed[what].chmod(0)
    for verb in ("snapshot", "remove"):
        reason, message = as_user(world, ref, verb).split(": ", 1)
        assert reason == "FileUnreadable", message
        assert str(closed[what]) in message
        assert "chmod u+rX" in message
    closed[what].chmod(0o755)
    assert (root / "new.txt").read_text() == "new"
    assert as_user(world, ref, "snapshot") == "done"
    assert as_user(world, ref, "remove") == "done"
    assert not root.exists()


def test_files_nobody_may_read_are_saved_by_root(world: GitWorld) -> None:
    ref = made_with_work(world)
    if os.geteuid() == 0:
        (Path(ref.worktree) / "new.txt").chmod(0)
        snapshot = world.workspaces.snapshot(ref, message="x")
        assert snapshot is not None
        assert world.user("cat-file", "blob", f"{snapshot}:new.txt") == "new"


BROKEN: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_text(""),
}


def _turned_into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


NOT_OURS: dict[str, Callable[[Path], object]] = {
    "nonsense": lambda path: path.write_text("nonsense\n"),
    "elsewhere": lambda path: path.write_text("gitdir: /nowhere/at/all\n"),
    "a folder": _turned_into_a_folder,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_worktree_without_its_git_file_is_saved_first(world: GitWorld, name: str) -> None:
    ref = made_with_work(world)
    BROKEN[name](Path(ref.worktree) / ".git")
    assert world.inspect(ref).unsaved is Unsaved.UNSAVED
    with untouched(Path(ref.worktree)):
        refused(lambda: world.workspaces.remove(ref), "UnsavedWork")
    snapshot = world.workspaces.snapshot(ref, message="x")
    assert snapshot is not None
    assert {"README.md", "new.txt"} <= set(world.files_of(snapshot))
    world.workspaces.remove(ref)
    assert not Path(ref.worktree).exists()


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_folder_that_is_not_our_worktree_any_more_stays(world: GitWorld, name: str) -> None:
    ref = made_with_work(world)
    NOT_OURS[name](Path(ref.worktree) / ".git")
    for prepare in (False, True):
        if prepare:
            world.workspaces.snapshot(ref, message="x")
        with untouched(Path(ref.worktree), Path(ref.private)):
            error = refused(lambda: world.workspaces.remove(ref), "NotOurs", ref.worktree, "by hand")
        assert isinstance(error, Conflict)


def test_a_read_only_worktree(world: GitWorld) -> None:
    ref = made_with_work(world)
    root = Path(ref.worktree)
    root.chmod(0o555)
    with untouched(root):
        refused(lambda: world.workspaces.remove(ref), "UnsavedWork")
    assert world.workspaces.snapshot(ref, message="x")
    root.parent.chmod(0o555)
    if os.geteuid() != 0:
        with untouched(root):
            refused(lambda: world.workspaces.remove(ref), "PermissionDenied")
    root.parent.chmod(0o755)
    world.workspaces.remove(ref)
    assert not root.exists()


@contextmanager
def mounted(path: Path, *, read_only: bool) -> Iterator[None]:
    """Bind a folder over itself."""
    options = "bind,ro" if read_only else "bind"
    subprocess.run(["mount", "--bind", str(path), str(path)], check=True, capture_output=True, timeout=10)
    try:
        if read_only:
            again = ["mount", "-o", f"remount,{options}", str(path)]
            subprocess.run(again, check=True, capture_output=True, timeout=10)
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True, capture_output=True, timeout=10)


@pytest.mark.parametrize("where", ["worktree", "above"])
def test_a_worktree_on_a_read_only_mount(world: GitWorld, where: str) -> None:
    ref = made_with_work(world)
    root = Path(ref.worktree)
    if os.geteuid() != 0:
        return  # only root mounts
    with mounted(root if where == "worktree" else root.parent, read_only=True), untouched(root, Path(ref.private)):
        refused(lambda: world.workspaces.remove(ref), "UnsavedWork")
        assert world.workspaces.snapshot(ref, message="x"), "saving needs no right to write there"
        if where == "worktree":
            refused(lambda: world.workspaces.remove(ref), "RemovalFailed", f"umount {ref.worktree}")
        else:
            refused(lambda: world.workspaces.remove(ref), "PermissionDenied", "let the controller's user")
    world.workspaces.remove(ref)
    assert not root.exists()


def test_a_worktree_that_git_was_told_to_move(world: GitWorld) -> None:
    ref = made_with_work(world)
    world.agent_writes(ref, ".gitignore", "*.env\n")
    world.agent(ref, "add", ".gitignore")
    world.agent(ref, "commit", "-qm", "Ignore", ".gitignore")
    world.collect(ref)
    world.agent_writes(ref, "secret.env", "ignored, and precious all the same")
    world.workspaces.snapshot(ref, message="x")
    world.agent(ref, "checkout", "-q", "README.md")
    (Path(ref.worktree) / "new.txt").unlink()
    moved = world.base / "moved"
    world.user("-c", f"safe.directory={ref.worktree}", "worktree", "move", "-f", "-f", ref.worktree, str(moved))
    for keep in (False, True):
        with untouched(moved, Path(ref.private)):
            error = refused(
                lambda keep=keep: world.workspaces.remove(ref, keep_worktree=keep),  # type: ignore[misc]  # bound now
                "WorktreeMoved",
                str(moved),
                "git worktree move -f -f",
            )
        assert isinstance(error, Conflict)
    assert str(moved) in world.user("worktree", "list")
    world.user("-c", f"safe.directory={moved}", "worktree", "move", "-f", "-f", str(moved), ref.worktree)
    world.workspaces.remove(ref)
    assert not Path(ref.worktree).exists()


def test_a_worktree_that_was_moved_behind_gits_back_stays_where_it_is(world: GitWorld) -> None:
    ref = made_with_work(world)
    moved = world.base / "moved"
    Path(ref.worktree).rename(moved)
    with untouched(moved):
        world.workspaces.remove(ref)
    assert world.workspaces.inspect(ref).presence is Presence.ABSENT


def test_a_memory_that_cannot_be_read(world: GitWorld) -> None:
    ref = made_with_work(world)
    (Path(ref.private).parent / "workspace.json").write_text("{")
    for act in (lambda: world.workspaces.remove(ref), lambda: world.workspaces.snapshot(ref, message="x")):
        with untouched(Path(ref.worktree), Path(ref.private)):
            assert isinstance(refused(act, "StateUnreadable", "workspace.json"), Unavailable)


def test_refs_that_cannot_be_read_are_not_gone(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = made_with_work(world)
    commit = world.agent_commits(ref, "late.txt")
    world.workspaces.snapshot(ref, message="before the removal")
    opened = os.open

    def open_(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "heads":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return opened(path, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", open_)
        refused(lambda: world.workspaces.collect(ref), "LookFailed")
        refused(lambda: world.workspaces.remove(ref), "LookFailed")
    assert world.collect(ref).head == commit


def test_a_memory_that_was_lost_keeps_no_work_from_being_saved(world: GitWorld) -> None:
    ref = made_with_work(world)
    commit = world.agent_commits(ref, "late.txt")
    world.agent_writes(ref, "last.txt", "words")
    (Path(ref.private).parent / "workspace.json").unlink()
    assert world.collect(ref).head == commit
    snapshot = world.workspaces.snapshot(ref, message="before the removal")
    assert snapshot is not None
    assert world.user("show", f"{snapshot}:last.txt") == "words"
    assert world.unsaved(ref) is Unsaved.SNAPSHOTTED
    world.workspaces.remove(ref)
    assert world.workspaces.inspect(ref).presence is Presence.ABSENT


def test_commits_that_cannot_be_brought_home_keep_the_workspace(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    blob = world.agent(ref, "rev-parse", f"{commit}:file.txt")
    (Path(ref.private) / f"objects/{blob[:2]}/{blob[2:]}").unlink()
    with untouched(Path(ref.worktree)):
        refused(lambda: world.collect(ref), "CommitsDamaged", "git fsck")
        refused(lambda: world.workspaces.remove(ref), "UnsavedWork")
