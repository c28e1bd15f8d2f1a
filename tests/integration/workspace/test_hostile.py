"""An agent owns its git directory and its worktree, and may put anything there."""

from __future__ import annotations

import hashlib
import os
import shutil
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from controller.errors import Terminal, Unavailable
from controller.workspace import agent_refs, quarantine
from controller.workspace.types import Collected, Presence, Unsaved
from support.git_world import OWNERS, GitWorld, git_world


@pytest.fixture
def secret(world: GitWorld) -> str:
    """A commit in another repository of the same user, which the agent must not get hold of."""
    other = world.base / "secret"
    world.write(other / "password.txt", "hunter2", world.owner)
    world.user("init", "-q", "--template=", cwd=other)
    world.user("add", ".", cwd=other)
    world.user("commit", "-qm", "Secret", cwd=other)
    return world.user("rev-parse", "HEAD", cwd=other)


def is_in_repository(world: GitWorld, value: str) -> bool:
    return "missing" not in world.user("cat-file", "-t", value, check=False) and bool(
        world.user("cat-file", "-t", value, check=False)
    )


def test_alternates_of_the_agent_are_not_followed(world: GitWorld, secret: str) -> None:
    ref = world.made()
    alternates = Path(ref.private) / "objects/info/alternates"
    alternates.write_text(alternates.read_text() + f"{world.base}/secret/.git/objects\n")
    (Path(ref.private) / "refs/heads/stolen").write_text(f"{secret}\n")
    commit = world.agent_commits(ref)
    with pytest.raises(Terminal, match="heads/stolen"):
        world.collect(ref)
    assert world.head(ref) == commit
    assert not is_in_repository(world, secret)
    assert world.unsaved(ref) is Unsaved.UNSAVED


@pytest.mark.parametrize("part", ["objects", "objects/pack", "objects/info", "fan-out"])
def test_linked_object_folders_are_not_followed(world: GitWorld, secret: str, part: str) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.collect(ref)
    theirs = world.base / "secret/.git"
    place = Path(ref.private) / (f"objects/{secret[:2]}" if part == "fan-out" else part)
    if place.exists():
        shutil.rmtree(place)
    place.symlink_to(theirs / (f"objects/{secret[:2]}" if part == "fan-out" else part))
    (Path(ref.private) / "refs/heads/stolen").write_text(f"{secret}\n")
    with pytest.raises(Terminal):
        world.collect(ref)
    assert world.head(ref) == commit
    assert not is_in_repository(world, secret)


def test_linked_object_files_are_not_followed(world: GitWorld, secret: str) -> None:
    ref = world.made()
    theirs = world.base / "secret/.git/objects"
    for source in theirs.rglob("*"):
        if source.is_file():
            target = Path(ref.private) / "objects" / source.relative_to(theirs)
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(source)
    (Path(ref.private) / "refs/heads/stolen").write_text(f"{secret}\n")
    with pytest.raises(Terminal):
        world.collect(ref)
    assert not is_in_repository(world, secret)


@pytest.mark.parametrize("name", ["refs/heads/stolen", "packed-refs", "HEAD", "logs/HEAD"])
def test_linked_refs_are_not_read(world: GitWorld, name: str) -> None:
    other = world.user_commits("main")
    hidden = world.base / "hidden"
    hidden.write_text(
        {"packed-refs": f"{other} refs/heads/stolen\n", "logs/HEAD": f"{other} {other} x\n"}.get(name, other)
    )
    ref = world.made()
    path = Path(ref.private) / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(hidden)
    seen = agent_refs.read_refs(ref.private)
    assert seen is not None
    assert other not in {*seen.refs.values(), *seen.logged} - {world.user("rev-parse", "web")}


def test_linked_folder_of_refs_is_not_entered(world: GitWorld) -> None:
    ref = world.made()
    shutil.rmtree(Path(ref.private) / "refs/heads")
    (Path(ref.private) / "refs/heads").symlink_to(world.repository / ".git/refs/heads")
    seen = agent_refs.read_refs(ref.private)
    assert seen is not None
    assert set(seen.refs) == {"heads/web", "heads/main"}


def test_program_of_the_agent_never_runs(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    ran = world.base / "ran"
    program = world.agent_writes(ref, "evil", f"#!/bin/sh\ntouch '{ran}'\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.alternateRefsCommand",
                "uploadpack.packObjectsHook", "diff.external", "filter.evil.clean", "filter.evil.smudge",
                "filter.evil.process", "gpg.program", "core.editor", "credential.helper"):  # fmt: skip
        world.agent(ref, "config", key, str(program))
    world.agent(ref, "config", "core.hooksPath", ref.worktree)
    world.agent(ref, "config", "include.path", str(program))
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        path = Path(ref.private) / "hooks" / hook
        world.write(path, f"#!/bin/sh\ntouch '{ran}'\n", world.agent_owner)
        path.chmod(0o755)
    world.agent_writes(ref, ".gitattributes", "* filter=evil diff=evil\n")
    world.agent_writes(ref, "sub/.git/config", f"[core]\n\tfsmonitor = {program}\n\tworktree = ..\n")
    world.agent_writes(ref, "sub/.git/HEAD", "ref: refs/heads/main\n")
    for folder in ("objects", "refs"):
        world.agent_writes(ref, f"sub/.git/{folder}/x", "")
    ran.unlink(missing_ok=True)
    world.workspaces.inspect(ref, deep=True)
    world.workspaces.snapshot(ref, message="x")
    world.collect(ref)
    world.workspaces.remove(ref)
    assert not ran.exists()


def test_object_that_is_not_what_its_name_says_is_not_taken(world: GitWorld) -> None:
    ref = world.made()
    world.collect(ref)
    fake = "00" + "1" * 38
    plain = b"blob 4\0evil"
    world.agent_puts_object(ref, fake, zlib.compress(plain))
    world.agent_puts_object(ref, hashlib.sha1(b"x", usedforsecurity=False).hexdigest(), b"no zlib")
    right = hashlib.sha1(b"blob 9\0evil", usedforsecurity=False).hexdigest()
    world.agent_puts_object(ref, right, zlib.compress(b"blob 9\0evil"))
    commit = world.agent_commits(ref)
    assert world.collect(ref).head == commit
    taken = Path(ref.private).parent / "collect.git/objects"
    assert not (taken / fake[:2] / fake[2:]).exists()
    assert not (taken / right[:2] / right[2:]).exists()


def test_more_bytes_than_can_be_meant_are_refused(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MAX_INTAKE", 1 << 20)
    ref = world.made()
    world.agent_writes(ref, "noise.bin", os.urandom(2 << 20))
    world.agent(ref, "add", ".")
    world.agent_commits(ref)
    with pytest.raises(Terminal, match="new objects"):
        world.collect(ref)
    assert world.unsaved(ref) is Unsaved.UNSAVED


def test_huge_ref_files_and_too_many_refs_are_refused(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    with (Path(ref.private) / "packed-refs").open("ab") as stream:
        stream.truncate(agent_refs.MAX_TEXT + 1)
    with pytest.raises(Terminal, match="MiB"):
        world.collect(ref)
    (Path(ref.private) / "packed-refs").unlink()
    monkeypatch.setattr(agent_refs, "MAX_REFS", 3)
    for number in range(4):
        (Path(ref.private) / f"refs/heads/b{number}").write_text(f"{world.head(ref)}\n")
    with pytest.raises(Terminal, match="branches and tags"):
        world.collect(ref)


def _peak_of_a_look(private: str) -> int:
    """Return the most memory that reading the refs has taken, whether or not it was refused."""
    tracemalloc.start()
    try:
        with suppress(Terminal):
            agent_refs.read_refs(private)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_huge_loose_refs_take_no_memory_and_are_told_by_name(world: GitWorld) -> None:
    """They cost the agent nothing: a file that was only stretched has no bytes on the disk."""
    ref = world.made()
    for number in range(4):
        with (Path(ref.private) / f"refs/heads/huge{number}").open("wb") as stream:
            stream.truncate(30 << 20)
    assert _peak_of_a_look(ref.private) < 8 << 20
    with pytest.raises(Terminal, match="refs/heads/huge") as caught:
        world.collect(ref)
    assert caught.value.reason == "TooMuchWork"


def test_large_file_among_the_refs_that_is_none_is_passed_over(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    (Path(ref.private) / "refs/heads/.DS_Store").write_bytes(bytes(1 << 20))
    assert world.collect(ref).head == commit


@pytest.mark.parametrize("place", ["packed-refs", "logs/HEAD"])
def test_file_of_line_ends_takes_little_more_memory_than_it_has_bytes(world: GitWorld, place: str) -> None:
    ref = world.made()
    (Path(ref.private) / place).write_bytes(b"\n" * (8 << 20))
    assert _peak_of_a_look(ref.private) < 24 << 20


def test_logs_are_counted_together(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    world.agent_commits(ref)
    monkeypatch.setattr(agent_refs, "MAX_LOGGED", 3)
    for number in range(5):
        line = f"{'0' * 40} {number}{'a' * 39} x\n"
        (Path(ref.private) / f"logs/refs/heads/b{number}").write_text(line)
    with pytest.raises(Terminal, match="git reflog expire"):
        world.collect(ref)
    monkeypatch.undo()
    monkeypatch.setattr(agent_refs, "MAX_TEXT", 400)
    with pytest.raises(Terminal, match=r"logs/.*of refs and logs"):
        world.collect(ref)
    monkeypatch.undo()
    monkeypatch.setattr(agent_refs, "MAX_ENTRIES", 5)
    with pytest.raises(Terminal, match="files among them"):
        world.collect(ref)


def test_pipes_and_deep_folders_do_not_hang_or_break_a_look(world: GitWorld) -> None:
    ref = world.made()
    private = Path(ref.private)
    os.mkfifo(private / "refs/heads/pipe")
    os.mkfifo(private / "objects/pack/pack-0000000000000000000000000000000000000000.pack")
    (private / "objects/00").mkdir()
    os.chown(private / "objects/00", world.agent_owner, world.agent_owner)
    os.mkfifo(private / "objects/00" / ("0" * 38))
    commit = world.agent_commits(ref)
    assert world.collect(ref).head == commit
    (private / "refs/heads" / "d" / "/".join("d" * 200)).mkdir(parents=True)
    with pytest.raises(Terminal, match="folders deep"):  # there may be a branch at its end
        world.collect(ref)


def test_names_git_would_not_accept_are_passed_over(world: GitWorld) -> None:
    ref = world.made()
    head = world.head(ref)
    heads = Path(ref.private) / "refs/heads"
    for name in ("-x", "a..b", "x.lock", "with space", "new\nline", "back\\slash", "tilde~1"):
        (heads / name).write_text(f"{head}\n")
    (heads / "text").write_text("not a hash\n")
    (heads / "symbolic").write_text("ref: refs/heads/main\n")
    seen = agent_refs.read_refs(ref.private)
    assert seen is not None
    assert set(seen.refs) == {"heads/web", "heads/main", "heads/-x"}
    world.agent_commits(ref)
    assert world.collect(ref).moved


def test_replaced_objects_and_grafts_of_the_agent_mean_nothing(world: GitWorld) -> None:
    ref = world.made()
    first = world.agent_commits(ref)
    second = world.agent_commits(ref)
    world.agent(ref, "replace", second, first)
    assert world.collect(ref) == Collected(second, moved=True, diverged=False)
    assert world.user("rev-list", "--count", "web") == "3"


def test_tree_with_a_git_folder_in_it_does_not_come_home(world: GitWorld) -> None:
    ref = world.made()
    blob = world.agent(ref, "hash-object", "-w", str(world.agent_writes(ref, "payload", "x")))
    raw = b"100644 .git\0" + bytes.fromhex(blob)
    path = world.agent_writes(ref, "tree", raw)
    tree = world.agent(ref, "hash-object", "-t", "tree", "--literally", "-w", str(path))
    commit = world.agent(ref, "commit-tree", "-p", "HEAD", "-m", "Evil", tree)
    world.agent(ref, "update-ref", "refs/heads/web", commit)
    before = world.head(ref)
    with pytest.raises(Terminal, match="hasDotgit"):
        world.collect(ref)
    assert world.head(ref) == before
    assert world.unsaved(ref) is Unsaved.UNSAVED


@pytest.mark.parametrize("swap", ["folder", "file"])
def test_links_in_the_worktree_are_saved_as_links(world: GitWorld, swap: str) -> None:
    world.write(world.base / "private/id_rsa", "hunter2", world.owner)
    ref = world.made()
    place = Path(ref.worktree) / ("keys" if swap == "folder" else "id_rsa")
    place.symlink_to(world.base / "private" / ("" if swap == "folder" else "id_rsa"))
    snapshot = world.workspaces.snapshot(ref, message="x")
    assert snapshot is not None
    assert world.files_of(snapshot)[place.name].startswith("120000")
    assert world.user("grep", "hunter2", snapshot, check=False) == ""


def test_pack_of_lies_is_not_taken() -> None:
    with git_world(OWNERS[-1]) as world:
        ref = world.made()
        commit = world.agent_commits(ref)
        (Path(ref.private) / f"objects/pack/pack-{'0' * 40}.pack").write_bytes(b"PACK\0\0\0\2\0\0\0\1garbage")
        assert world.collect(ref).head == commit


def test_git_file_of_the_worktree_that_is_huge_is_not_ours(world: GitWorld) -> None:
    """Where an agent is a process of the host it can write it; git reads none of more than 1 MiB either."""
    ref = world.made()
    (Path(ref.worktree) / ".git").write_bytes(b"x" * (2 << 20))
    state = world.workspaces.inspect(ref)
    assert (state.presence, ".git does not point to" in state.detail) == (Presence.FOREIGN, True)


def test_huge_file_of_the_repository_is_told_by_name(world: GitWorld) -> None:
    ref = world.made()
    (world.repository / ".git/worktrees/web/locked").write_bytes(b"x" * (2 << 20))
    with pytest.raises(Unavailable, match=r"worktrees/web/locked.*1048576 bytes") as caught:
        world.workspaces.inspect(ref)
    assert caught.value.reason == "LookFailed"
