"""Many at once, and git itself killed in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from controller.errors import Retryable
from controller.workspace.locks import folder_lock
from controller.workspace.types import Presence, Unsaved, WorkspaceRef
from support.deadline import eventually
from support.git_world import OWNERS, GitWorld, git_world


def test_twenty_at_once_in_one_repository(any_world: GitWorld) -> None:
    world = any_world
    refs = [world.ref(f"web-{number}", branch=f"team/{number}") for number in range(20)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(world.create, refs))
    assert {world.workspaces.inspect(ref).presence for ref in refs} == {Presence.READY}
    assert world.user("worktree", "list").count("\n") == 20
    commits = [world.agent_commits(ref) for ref in refs]
    with ThreadPoolExecutor(16) as pool:
        assert [result.head for result in pool.map(world.collect, refs)] == commits
        assert set(pool.map(world.unsaved, refs)) == {Unsaved.NONE}
        list(pool.map(world.workspaces.remove, refs))
    assert world.user("worktree", "list").count("\n") == 0
    assert not Path(refs[0].worktree).parent.exists()


def test_two_processes_create_the_same_workspace(world: GitWorld) -> None:
    ref = world.ref()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                world.workspaces.create(ref)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0, 0]
    assert world.user("worktree", "list").count("\n") == 1
    assert world.workspaces.inspect(ref).presence is Presence.READY


def test_lock_held_elsewhere_is_a_reason_to_come_back(world: GitWorld) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with folder_lock(str(world.repository)):
            entered.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    with pytest.raises(Retryable, match="locked by another"), folder_lock(str(world.repository), timeout=0.05):
        pass
    leave.set()
    holder.join()


def children_of(process: int) -> list[int]:
    """Return the processes below one, by the kernel's own list."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            for child in task.read_text().split():
                found += [int(child), *children_of(int(child))]
    return found


def command_line(process: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def killed_inside_git(world: GitWorld, ref: WorkspaceRef, command: bytes) -> bool:
    """Kill controller and git as soon as git runs ``command``; False when that was missed."""
    child = os.fork()
    if child == 0:
        try:
            world.workspaces.create(ref)
        finally:
            os._exit(0)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for process in children_of(child):
                line = command_line(process)
                if line.startswith(b"git\0") and command in line:
                    os.kill(child, signal.SIGKILL)
                    os.kill(process, signal.SIGKILL)
                    return True
            if os.waitpid(child, os.WNOHANG)[0]:
                child = 0
                return False
    except ProcessLookupError:
        return False
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return False


# Adding takes git 5 ms, which a busy machine may well miss; the next test kills it for sure, at a place of its own.
@pytest.mark.parametrize(("command", "sure"), [(b"\0worktree\0add\0", 0), (b"\0read-tree\0--reset\0", 1)])
def test_git_killed_in_the_middle_is_mended(command: bytes, sure: int) -> None:
    with git_world(OWNERS[-1]) as world:
        for number in range(1500):
            world.write(world.repository / f"d{number % 30}/f{number}.txt", f"{number}\n" * 20, world.owner)
        world.user("add", ".")
        world.user("commit", "-qm", "Many")
        killed = 0
        for number in range(6):
            ref = world.ref(f"web-{number}")
            killed += killed_inside_git(world, ref, command)
            world.create(ref)
            assert world.workspaces.inspect(ref).presence is Presence.READY
            assert world.unsaved(ref) is Unsaved.NONE
            assert world.agent(ref, "status", "--porcelain") == ""
        assert world.user("worktree", "list").count("\n") == 6
        assert killed >= sure


_DYING_GIT = """\
#!/bin/sh
case " $* " in *" worktree add "*)
  prlimit --core=0 --fsize={size} {git} "$@"
  echo $$ $? >{note}.new
  mv {note}.new {note}
  exec sleep 60
esac
exec {git} "$@"
"""
"""Git, but the kernel kills ``worktree add`` when it would write a file beyond a size; then it waits for its end."""


# Not more: a later file would be cut in the middle, as no kill does, since git writes each of them at once.
@pytest.mark.parametrize("size", [0, 20, 40])
def test_git_killed_while_it_adds_a_worktree_is_mended(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the controller with it, before it could see that."""
    with git_world(OWNERS[-1]) as world, TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        note, program = Path(folder) / "note", Path(folder) / "git"
        program.write_text(_DYING_GIT.format(git=shutil.which("git"), note=note, size=size))
        program.chmod(0o755)
        ref = world.ref("web")
        with monkeypatch.context() as dying:
            dying.setenv("PATH", folder, prepend=os.pathsep)
            child = os.fork()
            if child == 0:
                try:
                    world.workspaces.create(ref)
                finally:
                    os._exit(0)
            try:
                eventually(note.exists, timeout=30, what="git was killed")
                waiting, status = map(int, note.read_text().split())
                os.kill(waiting, signal.SIGKILL)
            finally:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        assert status == 128 + signal.SIGXFSZ
        assert world.workspaces.inspect(ref).presence in {Presence.BROKEN, Presence.ABSENT}
        world.create(ref)
        assert world.workspaces.inspect(ref).presence is Presence.READY
        assert world.unsaved(ref) is Unsaved.NONE
        assert world.agent(ref, "status", "--porcelain") == ""
        assert world.user("worktree", "list").count("\n") == 1


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("kept", range(5))
def test_every_stage_of_a_half_made_registration_is_mended(world: GitWorld, kept: int, *, empty: bool) -> None:
    """What git had written when it was killed, in its own order."""
    ref = world.made()
    admin = world.repository / ".git/worktrees/web"
    record = Path(ref.private).parent / "workspace.json"
    record.write_text(record.read_text().replace('"complete": true', '"complete": false'))
    order = [admin / "locked", admin / "gitdir", Path(ref.worktree) / ".git", admin / "HEAD", admin / "commondir"]
    for path in (*order[kept + 1 :], admin / "index"):
        path.unlink()
    if empty and kept < len(order) - 1:
        order[kept + 1].touch()  # git makes a file first and fills it a moment later
    (admin / "index.lock").touch()
    assert world.workspaces.inspect(ref).presence is Presence.BROKEN
    world.create(ref)
    assert world.workspaces.inspect(ref).presence is Presence.READY
    assert world.agent(ref, "status", "--porcelain") == ""
    assert world.user("worktree", "list").count("\n") == 1
