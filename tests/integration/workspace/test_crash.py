"""A controller killed before any of its side effects: the next pass ends where an undisturbed one would have."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.workspace.types import Presence, ToWorkspace, Unsaved, WorkspaceRef
from support.git_world import OWNERS, git_world
from support.trees import tree_of

_EFFECTS = {"subprocess.Popen", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chown", "os.truncate"}


def killed_before(number: int, act: Callable[[], object]) -> bool:
    """Run ``act`` in a process that dies before its n-th side effect; False when it came to its end."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            flags = args[2] if event == "open" and len(args) > 2 and isinstance(args[2], int) else 0
            if event in _EFFECTS or flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                seen += 1
                if seen == number:
                    os._exit(137)

        sys.addaudithook(count)
        try:
            act()
        finally:
            os._exit(0 if sys.exc_info() == (None, None, None) else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, 137}, f"effect {number}: status {status}"
    return status == 137


def kill_at_every_point(act: Callable[[int], Callable[[], object]], then: Callable[[int], None]) -> int:
    """Prepare, kill and check for each side effect until one run comes to its end; returns how many there were."""
    number = 1
    while killed_before(number, act(number)):
        then(number)
        number += 1
    then(number)
    return number


@pytest.mark.parametrize("owner", OWNERS)
def test_create_and_its_removal_converge(owner: int) -> None:
    with git_world(owner) as world:
        refs: dict[int, WorkspaceRef] = {}
        earlier = world.user("commit-tree", "-p", "main", "-m", "Of an earlier instance of that name", "main^{tree}")
        kept: dict[str, str] = {}

        def create(number: int) -> Callable[[], None]:
            ref = refs[number] = world.ref(f"web-{number}")
            root = f"refs/cco/instances/{ref.instance}/"
            world.user("update-ref", f"{root}1/heads/{ref.branch}", earlier)
            kept[f"{root}history/{earlier}"] = earlier
            return lambda: world.workspaces.create(ref)

        def converge(number: int) -> None:
            ref = refs[number]
            assert world.workspaces.inspect(ref).presence is not Presence.FOREIGN, number
            world.create(ref)
            assert world.workspaces.inspect(ref).presence is Presence.READY, number
            assert world.unsaved(ref) is Unsaved.NONE, number
            assert world.agent(ref, "status", "--porcelain") == "", number
            assert not world.collect(ref).moved, number
            world.workspaces.remove(ref)
            assert not Path(ref.worktree).parent.exists(), number
            world.user("update-ref", "-d", f"refs/heads/{ref.branch}")

        assert kill_at_every_point(create, converge) > 20
        assert world.refs() == {"refs/heads/main": world.user("rev-parse", "main"), **kept}


def test_collect_converges_and_loses_nothing() -> None:
    with git_world(OWNERS[-1]) as world:
        ref = world.made()
        commits: set[str] = set()

        def rewrite(number: int) -> Callable[[], object]:
            commits.add(world.agent_commits(ref, content=f"{number}"))
            world.collect(ref)
            world.agent(ref, "commit", "-q", "--amend", "-m", f"Amended {number}")
            world.agent(ref, "branch", f"side-{number}")
            if number > 1:
                world.agent(ref, "branch", "-qD", f"side-{number - 1}")
            commits.add(world.agent(ref, "rev-parse", "HEAD"))
            return lambda: world.collect(ref)

        def converge(number: int) -> None:
            world.collect(ref)
            assert world.head(ref) == world.agent(ref, "rev-parse", "HEAD"), number
            assert commits <= set(world.user("rev-list", "--all").split()), number
            assert world.user("-c", f"safe.directory={ref.worktree}", "status", "-s", cwd=ref.worktree) == "", number
            assert world.unsaved(ref) is Unsaved.NONE, number

        assert kill_at_every_point(rewrite, converge) > 20


def test_snapshot_converges_and_is_taken_once() -> None:
    with git_world(OWNERS[-1]) as world:
        ref = world.made()

        def change(number: int) -> Callable[[], object]:
            world.agent_writes(ref, "README.md", f"{number}")
            return lambda: world.workspaces.snapshot(ref, message="x")

        def converge(number: int) -> None:
            commit = world.workspaces.snapshot(ref, message="x")
            assert commit is not None
            assert world.user("cat-file", "blob", f"{commit}:README.md") == f"{number}"
            assert world.unsaved(ref) is Unsaved.SNAPSHOTTED, number
            assert len(world.refs("refs/cco/snapshots/")) == number
            assert f"refs/cco/instances/web/uids/{ref.uid}/pending" not in world.refs()

        assert kill_at_every_point(change, converge) > 3


def test_a_restore_into_a_worktree_converges_and_writes_over_nothing() -> None:
    with git_world(OWNERS[-1]) as world:
        ref = world.made()
        world.agent_writes(ref, "thing/one.txt", "one")
        world.agent_commits(ref, "gone.txt", "gone")
        world.collect(ref)

        def clean() -> None:
            world.agent(ref, "reset", "-q", "--hard")
            world.agent(ref, "clean", "-qfdx")

        for name in ("thing/one.txt", "gone.txt"):
            (Path(ref.worktree) / name).unlink()
        (Path(ref.worktree) / "thing").rmdir()
        world.agent_writes(ref, "thing", "a file now")
        world.agent_writes(ref, "README.md", "changed")
        world.agent_writes(ref, "deep/er/new.txt", "new")
        wanted = tree_of(Path(ref.worktree))
        world.workspaces.snapshot(ref, message="x")
        (work,) = world.workspaces.snapshots(ref.repository)

        def restore(_: int) -> Callable[[], object]:
            clean()
            world.agent_writes(ref, "other.txt", "mine")
            return lambda: world.workspaces.restore_snapshot(ref.repository, work.id, ToWorkspace(ref))

        def converge(number: int) -> None:
            found = tree_of(Path(ref.worktree))
            assert found.pop("other.txt") == ("100644", b"mine"), number
            before = {"README.md": b"hello\n", "thing/one.txt": b"one", "gone.txt": b"gone"}
            for path, value in found.items():
                assert value in (("100644", before.get(path)), wanted.get(path)), (number, path)
            world.workspaces.restore_snapshot(ref.repository, work.id, ToWorkspace(ref))
            assert tree_of(Path(ref.worktree)) == {**wanted, "other.txt": ("100644", b"mine")}, number
            assert not list(Path(ref.worktree).parent.glob("*.restore-*")), number

        assert kill_at_every_point(restore, converge) > 15


@pytest.mark.parametrize("keep", [False, True])
def test_removal_converges(*, keep: bool) -> None:
    with git_world(OWNERS[-1]) as world:
        refs: dict[int, WorkspaceRef] = {}

        def remove(number: int) -> Callable[[], None]:
            ref = refs[number] = world.made(f"web-{number}")
            world.agent_writes(ref, "new.txt", f"{number}")
            commit = world.agent_commits(ref)
            world.collect(ref)
            assert world.head(ref) == commit
            return lambda: world.workspaces.remove(ref, keep_worktree=keep)

        def converge(number: int) -> None:
            ref = refs[number]
            if world.workspaces.inspect(ref).presence in {Presence.READY, Presence.BROKEN}:
                assert world.unsaved(ref) is Unsaved.NONE, number
                world.workspaces.remove(ref, keep_worktree=keep)
            assert Path(ref.worktree).exists() is keep, number
            assert not list(Path(ref.worktree).parent.glob("*removed*")), number
            assert list(Path(ref.private).parent.iterdir()) == [], number
            assert world.user("worktree", "list").count("\n") == (number if keep else 0), number

        assert kill_at_every_point(remove, converge) > 10
