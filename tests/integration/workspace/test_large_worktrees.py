"""A look at a worktree ends, whatever is in it, and what cannot be saved is told by name and never left out."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from controller.errors import CcoError, Terminal
from controller.workspace import allowance, scan, seen_files, snapshot
from controller.workspace.safe_files import open_directory
from controller.workspace.types import Unsaved, WorkspaceRef
from support.git_world import GitWorld

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _no_file_is_too_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_files, "_SETTLED_NS", 0)
    monkeypatch.setattr(seen_files, "_WRITTEN_BACK_NS", 0)


def refused(world: GitWorld, ref: WorkspaceRef, reason: str, words: str) -> None:
    """Neither a look, a snapshot nor a removal gets past it."""
    for step in (world.unsaved, lambda each: world.workspaces.snapshot(each, message="x"), world.workspaces.remove):
        with pytest.raises(CcoError, match=words) as caught:
            step(ref)
        assert caught.value.reason == reason
    assert Path(ref.worktree).is_dir()


def test_file_that_is_too_large_is_told_at_once_and_the_rest_can_be_saved(world: GitWorld) -> None:
    """It costs the agent nothing: only its end was written."""
    ref = world.made()
    world.collect(ref)
    world.agent_writes(ref, "work.txt", "work")
    image = world.agent_writes(ref, "build/disk.img", "")
    with image.open("r+b") as stream:
        stream.truncate(5 << 30)
    started = time.monotonic()
    refused(world, ref, "FileTooLarge", r"web/build/disk.img' has 5 GiB, and no file of more than 4 GiB .*\.gitignore")
    assert time.monotonic() - started < 5
    world.agent_writes(ref, ".gitignore", "*.img\n")
    commit = world.workspaces.snapshot(ref, message="x")
    assert commit is not None
    assert sorted(world.files_of(commit)) == [".gitignore", "README.md", "work.txt"]
    world.workspaces.remove(ref)
    assert not Path(ref.worktree).exists()


def test_large_file_of_the_repository_is_no_obstacle_while_it_is_unchanged(
    world: GitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = world.made()
    world.agent_commits(ref, "model.bin", "x" * 2 * MIB)
    world.collect(ref)
    for module in (scan, snapshot):
        monkeypatch.setattr(module, "MAX_FILE", MIB)
    assert world.unsaved(ref) is Unsaved.NONE
    assert world.unsaved(ref) is Unsaved.NONE  # by what was remembered
    world.agent_writes(ref, "model.bin", "y" * 2 * MIB)
    refused(world, ref, "FileTooLarge", "web/model.bin' has 2 MiB")
    world.agent_writes(ref, "model.bin", "x" * 2 * MIB)
    world.workspaces.remove(ref)


def test_look_reads_so_much_and_the_next_one_goes_on(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    world.collect(ref)
    for number in range(3):
        world.agent_writes(ref, f"data/{number}.bin", bytes([number]) * MIB)
    monkeypatch.setattr(allowance, "MAX_READ", MIB + MIB // 2)
    for _ in range(2):
        with pytest.raises(Terminal, match=r"more than .* The largest of it: 'data/..bin' \(1 MiB\)") as caught:
            world.inspect(ref)
        assert caught.value.reason == "WorktreeTooLarge"
    assert world.unsaved(ref) is Unsaved.UNSAVED
    assert world.workspaces.snapshot(ref, message="x") is not None
    assert world.unsaved(ref) is Unsaved.SNAPSHOTTED


def test_look_takes_so_long(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    world.collect(ref)
    world.agent_writes(ref, "new.txt", "x")
    monkeypatch.setattr(allowance, "LOOK_SECONDS", -1.0)
    refused(world, ref, "WorktreeTooLarge", "could not be read within -1 s, up to")
    monkeypatch.undo()
    assert world.unsaved(ref) is Unsaved.UNSAVED


def test_files_and_folders_are_counted(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    world.collect(ref)
    for number in range(10):
        (Path(ref.worktree) / f"many/{number}").mkdir(parents=True)
    monkeypatch.setattr(allowance, "MAX_ENTRIES", 9)
    refused(world, ref, "WorktreeTooLarge", "more than 9 files and folders, up to those in 'many/'")


def test_names_of_ignored_files_are_counted(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    world.collect(ref)
    world.agent_writes(ref, ".gitignore", "*.tmp\nwhole/\n")
    for number in range(50):
        world.agent_writes(ref, f"whole/{number}.tmp", "")
    monkeypatch.setattr(scan, "MAX_NAMES", 200)
    assert world.unsaved(ref) is Unsaved.UNSAVED
    for number in range(50):
        world.agent_writes(ref, f"single/{number}.tmp", "")
    refused(world, ref, "WorktreeTooLarge", "more ignored files than git can tell .*ignore whole folders")


def test_rules_that_keep_git_waiting_are_told(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    world.collect(ref)
    os.mkfifo(Path(ref.worktree) / ".gitignore")
    monkeypatch.setattr(allowance, "LOOK_SECONDS", 1.0)
    refused(world, ref, "WorktreeTooLarge", "more ignored files than git can tell .* no ordinary file")


def test_commit_of_small_trees_that_name_each_other_has_too_many_files(
    world: GitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = world.made()
    blob = world.agent(ref, "hash-object", "-w", str(world.agent_writes(ref, "x", "x")))
    made, kind, mode = blob, "blob", "100644"
    for _ in range(4):
        listing = "".join(f"{mode} {kind} {made}\t{name}\n" for name in range(10))
        made = world.user_input(listing, f"--git-dir={ref.private}", "mktree")
        kind, mode = "tree", "040000"
    commit = world.agent(ref, "commit-tree", "-p", "HEAD", "-m", "Bomb", made)
    world.agent(ref, "update-ref", "refs/heads/web", commit)
    assert world.collect(ref).head == commit
    monkeypatch.setattr(scan, "MAX_ENTRIES", 5000)
    refused(world, ref, "TooMuchWork", f"commit {commit} has more than 5000 files")


def test_snapshot_holds_so_much(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    world.collect(ref)
    monkeypatch.setattr(snapshot, "MAX_SNAPSHOT", 3 * MIB)
    for number in range(4):
        world.agent_writes(ref, f"{number}.bin", bytes(MIB + number))
    with pytest.raises(Terminal, match=r"4.1 MiB of uncommitted files.*'3.bin' \(1.1 MiB\)") as caught:
        world.workspaces.snapshot(ref, message="x")
    assert caught.value.reason == "WorktreeTooLarge"
    assert world.unsaved(ref) is Unsaved.UNSAVED
    (Path(ref.worktree) / "3.bin").unlink()
    (Path(ref.worktree) / "2.bin").unlink()
    assert world.workspaces.snapshot(ref, message="x") is not None


def test_no_more_of_a_file_is_read_than_it_had_when_it_was_looked_at() -> None:
    """It may grow faster than it is read; the kernel's own files say that they are empty."""
    with open_directory(f"/proc/{os.getpid()}") as folder:
        entry = scan.read_entry(folder, "status", "status", sha256=False, expected=None)
    assert entry is not None
    assert entry.oid == scan.blob_id(b"", sha256=False)
