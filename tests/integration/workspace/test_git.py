"""The one place that runs git keeps its promises about time, failures and names."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from controller.errors import Unavailable
from controller.workspace.git import Git, GitFailed
from controller.workspace.names import is_ref_name
from controller.workspace.private import format_config
from controller.workspace.refs import Move, force, move
from support.git_world import GitWorld


def git_of(world: GitWorld) -> Git:
    return Git(str(world.repository / ".git"), (world.owner, world.owner))


def test_command_that_does_not_end_is_stopped_with_all_it_started(world: GitWorld) -> None:
    started = time.monotonic()
    mark = world.base / "mark"
    with pytest.raises(Unavailable, match="did not end") as caught:
        git_of(world).run("-c", f"alias.hang=!touch '{mark}'; sleep 60", "hang", timeout=1.0)
    assert caught.value.reason == "GitTimeout"
    assert time.monotonic() - started < 20
    assert mark.exists()
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [line for line in running if b"sleep\x0060" in line and str(mark).encode() in line]


def test_failure_says_what_git_said(world: GitWorld) -> None:
    with pytest.raises(GitFailed, match="Needed a single revision"):
        git_of(world).run("rev-parse", "--verify", "nonsense")


def test_writer_of_a_command_that_fails_learns_why(world: GitWorld) -> None:
    def write() -> None:
        with git_of(world).feed("fast-import", "--quiet") as (sink, _):
            for _ in range(1000):
                sink.write(b"nonsense\n" * 500)

    with pytest.raises(GitFailed, match="Unsupported command: nonsense"):
        write()


@pytest.mark.parametrize("waits", ["for an answer", "for the end"])
def test_command_that_is_fed_is_stopped_when_its_time_is_over(world: GitWorld, waits: str) -> None:
    def feed() -> None:
        with git_of(world).feed("-c", "alias.hang=!exec sleep 60", "hang", timeout=0.5) as (_, answers):
            if waits == "for an answer":
                assert answers.readline() == b""

    started = time.monotonic()
    with pytest.raises(Unavailable, match="did not end within") as caught:
        feed()
    assert caught.value.reason == "GitTimeout"
    assert time.monotonic() - started < 20


def test_only_so_much_is_heard_of_a_command(world: GitWorld) -> None:
    """It is stopped then; what it says beside is heard too, or it would wait for ever."""
    noise = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo warning: some words of no use, and more of them >&2; done"
    said, whole = git_of(world).read("-c", f"alias.talk=!{noise}; echo enough", "talk", limit=6, timeout=30.0)
    assert (said, whole) == (b"enough", False)
    said, whole = git_of(world).read("-c", f"alias.talk=!{noise}; echo enough", "talk", limit=7, timeout=30.0)
    assert (said, whole) == (b"enough\n", True)
    started = time.monotonic()
    assert git_of(world).read("-c", "alias.talk=!exec yes", "talk", limit=10, timeout=30.0) == (b"y\n" * 5, False)
    with pytest.raises(Unavailable, match="did not end within"):
        git_of(world).read("-c", "alias.hang=!exec sleep 60", "hang", limit=10, timeout=0.5)
    assert time.monotonic() - started < 20
    with pytest.raises(GitFailed, match="Needed a single revision"):
        git_of(world).read("rev-parse", "--verify", "nonsense", limit=10)


def test_moves_are_made_together_or_not_at_all(world: GitWorld) -> None:
    git = git_of(world)
    start = world.user("rev-parse", "main")
    other = world.user("commit-tree", "-p", "main", "-m", "x", "main^{tree}")
    assert not move(git, [Move("refs/cco/a", start, None), Move("refs/heads/main", other, other)])
    assert world.refs("refs/cco/") == {}
    assert move(git, [Move("refs/cco/a", start, None), Move("refs/heads/main", other, start)])
    assert not move(git, [Move("refs/cco/a", other, None)])
    force(git, [Move("refs/cco/a", None, start)])
    assert world.refs() == {"refs/heads/main": other}


REFUSED = (
    ["", "@", ".x", "x.", "x/.y", "x..y", "x//y", "/x", "x/", "x.lock", "x.lock/y", "x@{y"],
    ["x y", "x~", "x^", "x:y", "x?", "x*", "x[", "x\\y", "x\ny", "\x7f"],
    ["x" * 251, "/".join(["x" * 100] * 11)],
)


@pytest.mark.parametrize("name", [name for names in REFUSED for name in names])
def test_names_git_refuses(world: GitWorld, name: str) -> None:
    assert not is_ref_name(name)
    if len(name) < 250 and name != "@":
        assert world.user("check-ref-format", f"refs/heads/{name}", check=False) == ""
        with pytest.raises(AssertionError):
            world.user("check-ref-format", f"refs/heads/{name}")


@pytest.mark.parametrize("name", ["x", "x/y", "-x", "x.y", "ünï/日本", "x@y", "x-", "a'b\"c", "x{y}"])
def test_names_git_accepts(world: GitWorld, name: str) -> None:
    assert is_ref_name(name)
    world.user("check-ref-format", f"refs/heads/{name}")


def test_configuration_is_written_as_git_reads_it(world: GitWorld) -> None:
    values = {"user.name": 'a "b" \\ c\n\td ; # e', "core.worktree": "/with space/ü", "user.email": " x "}
    path = world.base / "config"
    path.write_text(format_config(values))
    for name, value in values.items():
        assert world.user("config", "--file", str(path), "-z", name) == f"{value}\0"
