"""Where nobody can look, nothing is gone: the look fails, and with it whatever would follow from an absence."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.errors import Unavailable
from controller.workspace import safe_files
from controller.workspace.inventory import HoldingKind, StateInventory
from controller.workspace.types import Presence, Unsaved
from support.as_user import as_user, give_state
from support.git_world import GitWorld
from support.kept_work import made_with_work, refused, untouched


@contextmanager
def shut(folder: Path) -> Iterator[None]:
    """Let nobody but root look into a folder."""
    mode = folder.stat().st_mode
    folder.chmod(0)
    try:
        yield
    finally:
        folder.chmod(mode)


@contextmanager
def failing(place: Path, number: int) -> Iterator[None]:
    """Let the disk below a folder fail each look at a path, as a network file system does whose server is away."""
    look, link = os.stat, os.lstat

    def refuse(path: object) -> None:
        if isinstance(path, str | os.PathLike) and Path(os.fsdecode(path)).is_relative_to(place):
            raise OSError(number, os.strerror(number), os.fsdecode(path))

    def stat_(path: int | str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        refuse(path)
        return look(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def lstat_(path: str, *, dir_fd: int | None = None) -> os.stat_result:
        refuse(path)
        return link(path, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "stat", stat_)
        patch.setattr(os, "lstat", lstat_)
        yield


def test_a_folder_above_that_nobody_may_enter_does_not_make_the_worktree_absent(world: GitWorld) -> None:
    ref = made_with_work(world)
    give_state(world)
    above = Path(ref.worktree).parent
    with untouched(Path(ref.worktree), Path(ref.private)), shut(above):
        for deep in (False, True):
            assert as_user(world, ref, "inspect", deep=deep).split(":")[0] == "LookFailed"
        for verb in ("snapshot", "create", "remove"):
            assert as_user(world, ref, verb).split(":")[0] == "PermissionDenied"
        for options in ({"keep_worktree": True}, {"or_lose": True}):
            assert as_user(world, ref, "remove", **options).split(":")[0] == "PermissionDenied"
        assert str(above) in as_user(world, ref, "remove")
    assert as_user(world, ref, "inspect", deep=True) == f"{Presence.READY} {Unsaved.UNSAVED}"
    assert as_user(world, ref, "snapshot") == "done"
    assert as_user(world, ref, "remove") == "done"
    assert not Path(ref.worktree).exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
@pytest.mark.parametrize("place", ["worktree", "private"])
def test_a_disk_that_does_not_answer_ends_the_look(world: GitWorld, place: str, number: int) -> None:
    ref = made_with_work(world)
    with untouched(Path(ref.worktree), Path(ref.private)), failing(Path(getattr(ref, place)), number):
        refused(lambda: world.workspaces.inspect(ref), "LookFailed", getattr(ref, place))
        refused(lambda: world.workspaces.inspect(ref, deep=True), "LookFailed")
        refused(lambda: world.workspaces.remove(ref), "LookFailed")
        refused(lambda: world.workspaces.remove(ref, or_lose=True), "LookFailed")
        refused(lambda: world.workspaces.remove(ref, keep_worktree=True), "LookFailed")
        refused(lambda: world.workspaces.create(ref), "LookFailed")
        if place == "worktree":
            refused(lambda: world.workspaces.snapshot(ref, message="x"), "LookFailed")
    assert world.inspect(ref).presence is Presence.READY


def test_an_act_does_not_take_a_failed_look_for_something_that_is_gone(world: GitWorld) -> None:
    ref = made_with_work(world)
    with failing(world.base, errno.EIO):
        for act in (safe_files.remove_tree, safe_files.missing_above, safe_files.is_there):
            with pytest.raises(OSError, match="Input/output"):
                act(f"{ref.worktree}/new.txt")


def test_what_can_not_be_there_is_absent(world: GitWorld) -> None:
    inside = str(world.repository / "README.md" / "inside")
    for path in (inside, str(world.base / "missing" / "deep"), str(world.base / ("x" * 300))):
        assert not safe_files.is_there(path)
        assert not safe_files.is_folder(path, follow=True)
        assert not safe_files.is_file(path)
    (world.base / "nowhere").symlink_to("missing")
    (world.base / "link").symlink_to(world.repository)
    assert safe_files.is_there(str(world.base / "nowhere"))
    assert not safe_files.is_folder(str(world.base / "link"))
    assert safe_files.is_folder(str(world.base / "link"), follow=True)


def test_one_worktree_out_of_sight_hides_no_other(world: GitWorld) -> None:
    away, here = world.made("away"), world.made("here")
    world.user("worktree", "unlock", away.worktree)
    inventory = StateInventory(world.state_dir)
    with failing(Path(away.worktree), errno.ESTALE):
        found = inventory.take([str(world.repository)])
    assert [each.part for each in found.failures] == [away.worktree]
    assert {each.uid for each in found.holdings if each.kind is HoldingKind.WORKTREE} == {here.uid}
    assert {each.uid for each in found.holdings} == {away.uid, here.uid}


@pytest.mark.parametrize("place", ["", ".git", ".git/HEAD", ".git/objects"])
def test_a_repository_nobody_can_look_at_is_not_missing(world: GitWorld, place: str) -> None:
    ref = world.made()
    with failing(world.repository / place, errno.EIO):
        for look in (
            lambda: world.workspaces.inspect_repository(ref.repository),
            lambda: world.workspaces.inspect(ref),
        ):
            with pytest.raises(Unavailable):
                look()
    assert world.workspaces.inspect(ref).presence is Presence.READY


def test_a_store_nobody_can_look_at_is_not_missing(world: GitWorld, tmp_path: Path) -> None:
    ref = world.made()
    store = tmp_path / "store"
    store.mkdir(mode=0o755)
    alternates = world.repository / ".git/objects/info/alternates"
    world.write(alternates, f"{store}\n", world.owner)
    with failing(store, errno.EIO), pytest.raises(Unavailable):
        world.workspaces.mounts(ref)
    assert str(store) in {mount.source for mount in world.workspaces.mounts(ref)}
