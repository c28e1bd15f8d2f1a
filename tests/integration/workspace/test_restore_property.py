"""Whatever files an agent leaves, they are the same bytes after a deletion and a restore, as git itself lists them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.workspace.types import ToFolder, ToWorkspace, Unsaved, WorkspaceRef
from support.git_world import OWNERS, GitWorld, git_world
from support.trees import tree_of

Content = tuple[str, bytes]
"""What is at a path: ``file``, ``program`` or ``link``, and its bytes."""

_NAMES = st.sampled_from(
    ["a", "b", "ü", "e\u0301", "日本", "with space", "-dash", "new\nline", 'quo"te', "CON", "*.o", "x.o"]
)
_LATIN = st.just(os.fsdecode(b"caf\xe9"))
_PATHS = st.lists(st.one_of(_NAMES, _LATIN), min_size=1, max_size=3).map("/".join)
_BYTES = st.one_of(
    st.just(b""),
    st.binary(max_size=40),
    st.sampled_from([b"one\r\ntwo\r\n", b"one\ntwo\n", b"no newline", b"\x00" * 5000]),
)
_FILES = st.tuples(st.sampled_from(["file", "file", "program"]), _BYTES)
_LINKS = st.sampled_from([b"a", b"../outside", b"/etc/passwd", b"caf\xe9", b"x" * 300]).map(
    lambda target: ("link", target)
)
_RULES = st.sampled_from([b"*.o\n", b"b/\n", b"*\n!a\n", b"/a\n", b"# nothing\n", "日本\n".encode()])
_IGNORES = st.tuples(
    st.lists(_NAMES, max_size=2).map(lambda parts: "/".join([*parts, ".gitignore"])),
    _RULES.map(lambda text: ("file", text)),
)
_ATTRIBUTES = st.sampled_from([None, b"* text=auto eol=crlf\n", b"* text eol=crlf\n", b"*.o binary\na filter=lfs\n"])


def _trees() -> st.SearchStrategy[dict[str, Content]]:
    """Return sets of files in which no file is a folder of another."""
    entries = st.lists(st.one_of(st.tuples(_PATHS, st.one_of(_FILES, _FILES, _LINKS)), _IGNORES), max_size=7)
    return entries.map(_consistent)


def _consistent(entries: list[tuple[str, Content]]) -> dict[str, Content]:
    found: dict[str, Content] = {}
    for path, content in entries:
        above = {"/".join(path.split("/")[:length]) for length in range(1, path.count("/") + 1)}
        if not above & found.keys() and not any(each.startswith(f"{path}/") for each in found):
            found[path] = content
    return found


@dataclass(frozen=True)
class Story:
    """Files that were committed, what the agent made of them, and which of them it only moved."""

    committed: dict[str, Content]
    left: dict[str, Content]
    moved: tuple[str, ...]
    attributes: bytes | None


@st.composite
def stories(draw: st.DrawFn) -> Story:
    committed = draw(_trees())
    left = draw(_trees())
    kept = draw(st.lists(st.sampled_from(sorted(committed)), unique=True)) if committed else []
    moved = tuple(path for path in kept if draw(st.booleans()))
    merged = _consistent([(path, committed[path]) for path in kept if path not in moved] + list(left.items()))
    merged = _consistent(
        [*merged.items(), *((f"moved/{number}", committed[path]) for number, path in enumerate(moved))]
    )
    return Story(committed, merged, moved, draw(_ATTRIBUTES))


def write(world: GitWorld, ref: WorkspaceRef, files: dict[str, Content]) -> None:
    """Let the worktree have exactly these files, as the agent."""
    root = Path(ref.worktree)
    for path in sorted(root.rglob("*"), reverse=True):
        if path == root / ".git" or (root / ".git") in path.parents:
            continue
        if not path.is_symlink() and path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    for name, (kind, content) in files.items():
        if kind != "link":
            world.agent_writes(ref, name, content).chmod(0o755 if kind == "program" else 0o644)
            continue
        world.agent_writes(ref, f"{name}.made", "").unlink()
        os.symlink(content, os.fsencode(root / name))  # noqa: PTH211 - a target may be any bytes


def not_ignored(world: GitWorld, ref: WorkspaceRef) -> set[str]:
    """Return what git, asked by the agent, calls tracked or not ignored, as far as it is there."""
    listed = world.agent(ref, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return {name for name in listed if name and os.path.lexists(Path(ref.worktree) / name)}


def changes(world: GitWorld, ref: WorkspaceRef) -> dict[str, str]:
    """Return path to state of all that git, asked by the agent, does not call unchanged."""
    listed = world.agent(ref, "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames").split("\0")
    return {line[3:]: line[:2] for line in listed if line}


@pytest.fixture(scope="module")
def shared() -> Iterator[GitWorld]:
    """One repository for all examples; each has branches and instances of its own."""
    with git_world(OWNERS[-1]) as made:
        yield made


_numbers = itertools.count()


def expect(found: dict[str, tuple[str, bytes]], wanted: dict[str, tuple[str, bytes]], changed: set[str]) -> None:
    """Compare to the last byte; only a file that git calls unchanged has the line ends that git gives it."""
    assert found.keys() == wanted.keys()
    for path, (mode, content) in wanted.items():
        there_mode, there = found[path]
        if path not in changed:
            there, content = (each.replace(b"\r\n", b"\n") for each in (there, content))  # noqa: PLW2901 - as told
        assert (path, there_mode, there) == (path, mode, content)


@pytest.mark.timeout(300)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(story=stories())
def test_files_come_back_to_the_last_byte(shared: GitWorld, story: Story) -> None:
    world, name = shared, f"web-{next(_numbers)}"
    ref = world.made(name)
    committed = dict(story.committed)
    if story.attributes is not None:
        committed[".gitattributes"] = ("file", story.attributes)
    write(world, ref, committed)
    world.agent(ref, "-c", "core.autocrlf=false", "add", "--all", "--force", ".")
    world.agent(ref, "commit", "-q", "--allow-empty", "-m", "Committed")
    world.collect(ref)

    left = dict(story.left)
    if story.attributes is not None:
        left[".gitattributes"] = ("file", story.attributes)
    write(world, ref, left)
    wanted = {path: value for path, value in tree_of(Path(ref.worktree)).items() if path in not_ignored(world, ref)}
    status = changes(world, ref)

    commit = world.workspaces.snapshot(ref, message="Before the end")
    world.workspaces.remove(ref)
    assert not Path(ref.worktree).exists()

    again = world.made(f"{name}-2", branch=ref.branch)
    if commit is None:
        expect(tree_of(Path(again.worktree)), wanted, set())
    else:
        (work,) = world.workspaces.snapshots(str(world.repository), instance=name)
        assert work.commit == commit
        place = world.base / name
        done = world.workspaces.restore_snapshot(str(world.repository), work.id, ToFolder(str(place)))
        expect(tree_of(place), wanted, set(status))
        assert done.files == work.files
        world.workspaces.restore_snapshot(str(world.repository), work.id, ToWorkspace(again))
        expect(tree_of(Path(again.worktree)), wanted, set(status))
        assert changes(world, again) == status
        assert world.unsaved(again) is not Unsaved.NONE
        world.workspaces.snapshot(again, message="x")
    world.workspaces.remove(again)
