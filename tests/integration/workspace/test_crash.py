"""A controller killed before any of its side effects: the next pass ends where an undisturbed one would have."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.errors import CcoError
from controller.workspace.types import Presence, Unsaved, WorkspaceRef
from support.git_world import OWNERS, GitWorld, git_world

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
        except CcoError:
            os._exit(2)
        except BaseException:
            os._exit(3)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, 137}, f"effect {number}: status {status}"
    return status == 137


def finished(world: GitWorld, ref: WorkspaceRef) -> dict[str, object]:
    """What an undisturbed run leaves, without what differs by chance."""
    return {
        "presence": world.workspaces.inspect(ref).presence,
        "refs": {name.replace(ref.uid, "UID") for name in world.refs()},
        "worktrees": world.user("worktree", "list").count("\n"),
        "files": sorted(str(path.relative_to(ref.worktree)) for path in Path(ref.worktree).rglob("*")),
        "state": sorted(path.name for path in Path(ref.private).parent.iterdir()),
        "status": world.agent(ref, "status", "--porcelain") if Path(ref.private).exists() else "",
    }


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, object]:
    with git_world(OWNERS[-1]) as world:
        return finished(world, world.made())


@pytest.mark.parametrize("owner", OWNERS)
def test_create_converges_from_every_point(owner: int, undisturbed: dict[str, object]) -> None:
    number, died = 0, True
    with git_world(owner) as world:
        while died:
            number += 1
            ref = world.ref(f"web-{number}", branch=f"web-{number}")
            died = killed_before(number, lambda ref=ref: world.workspaces.create(ref))  # type: ignore[misc]  # bound now
            assert world.workspaces.inspect(ref).presence is not Presence.FOREIGN, number
            world.create(ref)
            assert world.workspaces.inspect(ref).presence is Presence.READY, number
            assert world.unsaved(ref) is Unsaved.NONE, number
            assert world.agent(ref, "status", "--porcelain") == "", number
            world.workspaces.remove(ref)
            assert not Path(ref.worktree).parent.exists(), number
            world.user("update-ref", "-d", f"refs/heads/{ref.branch}")
        assert world.refs() == {"refs/heads/main": world.user("rev-parse", "main")}
    assert number > 20
    assert undisturbed["presence"] is Presence.READY
