"""What an agent writes costs the controller no more time, memory and disk than was said, and loses nobody's work."""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from pathlib import Path

import pytest

from controller.errors import Retryable, Terminal
from controller.workspace import quarantine, seen_files, transfer
from controller.workspace.types import Unsaved, WorkspaceRef
from support.git_world import GitWorld

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _no_file_is_too_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_files, "_SETTLED_NS", 0)


def zeros(mebibytes: int) -> bytes:
    """Return many zeros as a loose object inflates to them."""
    press = zlib.compressobj(1)
    parts = [press.compress(b"blob %d\0" % (mebibytes * MIB))]
    parts += [press.compress(bytes(MIB)) for _ in range(mebibytes)]
    return b"".join((*parts, press.flush()))


def refused(world: GitWorld, ref: WorkspaceRef, words: str) -> None:
    with pytest.raises(Terminal, match=words) as caught:
        world.collect(ref)
    assert caught.value.reason == "TooMuchWork"
    assert not list((Path(ref.private).parent / "collect.git").rglob("*.new"))


def test_what_inflates_is_counted_and_a_lie_is_inflated_once(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mebibyte of these keeps a processor busy for seconds, and nothing limits how many there are."""
    monkeypatch.setattr(quarantine, "MAX_INTAKE", 24 * MIB)
    ref = world.made()
    commit = world.agent_commits(ref)
    for number in range(3):
        world.agent_puts_object(ref, f"0{number}" + "1" * 38, zeros(16))
    refused(world, ref, "new objects, up to 011111")
    refused(world, ref, "new objects, up to 021111")
    assert world.unsaved(ref) is Unsaved.UNSAVED
    assert world.collect(ref).head == commit
    assert world.unsaved(ref) is Unsaved.NONE


def test_no_more_is_inflated_than_an_object_says_it_has(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MAX_INTAKE", 8 * MIB)
    ref = world.made()
    press = zlib.compressobj(1)
    world.agent_puts_object(ref, "0" * 40, press.compress(b"blob 4\0" + bytes(64 * MIB)) + press.flush())
    commit = world.agent_commits(ref)
    assert world.collect(ref).head == commit


def test_bytes_behind_an_object_are_not_taken(world: GitWorld) -> None:
    ref = world.made()
    name = hashlib.sha1(b"blob 4\0evil", usedforsecurity=False).hexdigest()
    world.agent_puts_object(ref, name, zlib.compress(b"blob 4\0evil") + bytes(MIB))
    commit = world.agent_commits(ref)
    assert world.collect(ref).head == commit
    assert not (Path(ref.private).parent / "collect.git/objects" / name[:2] / name[2:]).exists()


def test_large_object_is_in_the_way_only_of_what_needs_it(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MAX_OBJECT", MIB)
    ref = world.made()
    large = world.agent(ref, "hash-object", "-w", str(world.agent_writes(ref, "large.bin", bytes(2 * MIB))))
    (Path(ref.worktree) / "large.bin").unlink()
    first = world.agent_commits(ref, "small.txt")
    assert world.collect(ref).head == first
    world.agent_writes(ref, "large.bin", bytes(2 * MIB))
    world.agent_commits(ref)
    refused(world, ref, f"{large}.*rev-list --objects --all --reflog")
    world.agent(ref, "reset", "-q", "--hard", first)
    refused(world, ref, large)  # the reflog still names it: it is somebody's work
    assert world.head(ref) == first
    assert world.unsaved(ref) is Unsaved.UNSAVED
    world.agent(ref, "reflog", "expire", "--expire-unreachable=now", "--all")
    assert world.collect(ref).head == first
    assert world.unsaved(ref) is Unsaved.NONE


def test_time_is_limited_and_the_work_follows_later(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    monkeypatch.setattr(quarantine, "INTAKE_SECONDS", -1.0)
    refused(world, ref, "more than -1 s to look at")
    monkeypatch.undo()
    assert world.collect(ref).head == commit


def test_pack_that_takes_too_long_is_not_tried_again_at_once(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git needs a second and more for it; it is an honest one, so it is taken when there is more time."""
    ref = world.made()
    commit = world.agent_commits(ref)
    size = 768 * MIB
    body = zlib.compressobj(1)
    number = bytearray([0x30 | (size & 15) | 0x80])
    rest = size >> 4
    while rest > 127:
        number.append(rest & 127 | 128)
        rest >>= 7
    number.append(rest)
    pack = b"PACK\0\0\0\2\0\0\0\1" + bytes(number)
    pack += b"".join(body.compress(bytes(MIB)) for _ in range(768)) + body.flush()
    pack += hashlib.sha1(pack, usedforsecurity=False).digest()
    place = Path(ref.private) / f"objects/pack/pack-{'0' * 40}.pack"
    place.write_bytes(pack)
    monkeypatch.setattr(quarantine, "INTAKE_SECONDS", 1.0)
    for seconds in (0.0, 3600.0):  # tried each time, and after the second one not for an hour
        monkeypatch.setattr(quarantine, "RETRY_SECONDS", seconds)
        refused(world, ref, "pack-0000.* could not be checked within 1 s")
    monkeypatch.setattr(quarantine, "INTAKE_SECONDS", 300.0)
    started = time.monotonic()
    refused(world, ref, "within 1 s")
    assert time.monotonic() - started < 1.0
    os.utime(place)
    assert world.collect(ref).head == commit


def test_pack_for_which_git_needs_much_memory_is_told_with_the_way_out(
    world: GitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = world.made()
    commit = world.agent_commits(ref, "noise.txt", "x" * (3 * MIB))
    world.agent(ref, "repack", "-q", "-a", "-d")
    monkeypatch.setattr(quarantine, "_IN_MEMORY", "2m")
    refused(world, ref, "needs more than 2mB of memory: make other packs")
    monkeypatch.undo()
    world.agent(ref, "-c", "core.bigFileThreshold=16m", "repack", "-a", "-d", "-F", "--max-pack-size=1g")
    assert world.collect(ref).head == commit


def test_copy_takes_no_more_room_than_the_agents_file(world: GitWorld) -> None:
    """Stored, not compressed, and with holes where the zeros are: a sixteenth of its size on the agent's disk."""
    ref = world.made()
    plain = b"blob %d\0" % (16 * MIB) + bytes(16 * MIB)
    raw = zlib.compress(plain, 0)
    name = hashlib.sha1(plain, usedforsecurity=False).hexdigest()
    path = Path(ref.private) / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as out:
        for start in range(0, len(raw), 4096):
            page = raw[start : start + 4096]
            out.seek(start)
            if page.strip(b"\0"):
                out.write(page)
    assert path.stat().st_blocks * 512 < 4 * MIB
    world.agent_commits(ref)
    world.collect(ref)
    copy = Path(ref.private).parent / "collect.git/objects" / name[:2] / name[2:]
    assert copy.read_bytes() == raw
    assert copy.stat().st_blocks * 512 < 4 * MIB


def test_object_files_are_counted(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    monkeypatch.setattr(quarantine, "MAX_FILES", 5)
    refused(world, ref, "git gc")
    monkeypatch.undo()
    assert world.collect(ref).head == commit


def nested_folders(world: GitWorld, ref: WorkspaceRef, *, depth: int, entries: int) -> str:
    """Put folders of equal files as the agent, each with the next one in it; returns a commit of the outermost."""
    blob = bytes.fromhex(world.agent(ref, "hash-object", "-w", str(world.agent_writes(ref, "one", "x"))))
    files = b"".join(b"100644 %07d\0%b" % (number, blob) for number in range(entries))
    tree = b""
    for _ in range(depth):
        raw = files + (b"40000 z\0" + bytes.fromhex(tree.decode()) if tree else b"")
        plain = b"tree %d\0%b" % (len(raw), raw)
        tree = hashlib.sha1(plain, usedforsecurity=False).hexdigest().encode()
        world.agent_puts_object(ref, tree.decode(), zlib.compress(plain))
    return world.agent(ref, "commit-tree", "-p", "web", "-m", "Deep", tree.decode())


def test_folders_that_fill_the_memory_are_told_and_not_looked_at_again(
    world: GitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git holds every folder on the way down; they take a few hundred KiB on the agent's disk."""
    ref = world.made()
    good = world.agent_commits(ref)
    world.agent(ref, "branch", "side", nested_folders(world, ref, depth=24, entries=125_000))
    monkeypatch.setattr(quarantine, "MAX_MEMORY", 64 * MIB)
    refused(world, ref, "needs more than 64 MiB of memory.*folders with very many files")
    assert world.unsaved(ref) is Unsaved.UNSAVED
    started = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "Quarantine", None)  # nothing is taken in again
        refused(world, ref, "needs more than 64 MiB of memory")
    assert time.monotonic() - started < 1.0
    world.agent(ref, "branch", "-qD", "side")
    assert world.collect(ref).head == good


def leftovers(world: GitWorld) -> list[Path]:
    return list((world.repository / ".git/objects").rglob("tmp_*"))


def test_refused_pack_leaves_nothing_in_the_users_repository(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    for number in range(110):
        world.agent_writes(ref, f"many/{number}.txt", f"{number}")
    world.agent_writes(ref, "large.bin", os.urandom(MIB))
    world.agent_writes(ref, ".gitmodules", '[submodule "x"]\n\tpath = x\n\turl = -upayload\n')
    bad = world.agent_commits(ref)
    before = {path: path.lstat().st_mtime_ns for path in (world.repository / ".git").rglob("*")}
    for words in ("gitmodulesUrl", "gitmodulesUrl"):
        with pytest.raises(Terminal, match=words) as caught:
            world.collect(ref)
        assert caught.value.reason == "CommitsDamaged"
        monkeypatch.setattr(transfer, "Quarantine", None)  # the second time nobody looks again
    monkeypatch.undo()
    assert {path: path.lstat().st_mtime_ns for path in (world.repository / ".git").rglob("*")} == before
    assert leftovers(world) == []
    assert world.unsaved(ref) is Unsaved.UNSAVED
    world.agent(ref, "reset", "-q", "--hard", "HEAD~1")
    world.agent(ref, "reflog", "expire", "--expire=now", "--all")
    good = world.agent_commits(ref)
    assert world.collect(ref).head == good
    assert not world.reachable(bad)


def test_pack_is_not_begun_where_there_is_no_room_for_it(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    full = os.statvfs(world.base)
    values = list(full[:10])
    values[4] = 0  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    with pytest.raises(Retryable, match="free some") as caught:
        world.collect(ref)
    assert caught.value.reason == "DiskFull"
    assert leftovers(world) == []
    monkeypatch.undo()
    assert world.collect(ref).head == commit
