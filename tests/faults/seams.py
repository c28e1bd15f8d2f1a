"""Puts an :class:`~.injector.Injector` between the product and git, SQLite and files.

Each of them has one place in the product through which it is reached, and that is what is replaced for the length
of a ``with`` block: ``controller.workspace.git.Git``, ``controller.store.database.Database``, and for files the
functions of ``os`` as far as they change something below the folder of the test. Docker's seam is in
``docker_seam.py``; the fake engine of the in-process arm has one of its own (``FakeEngine.interrupt``).
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any
from unittest.mock import patch

from controller.agents import listener
from controller.errors import Retryable
from controller.store.database import Database
from controller.workspace import safe_files
from controller.workspace.git import Git, GitFailed, Output

from .injector import Call, Injector, Seam
from .recorders import GIT_WRITES

_PATH_FIRST = ("unlink", "remove", "rmdir", "mkdir", "chmod", "chown")
_TWO_PATHS = ("rename", "replace", "link", "symlink")
_BY_DESCRIPTOR = ("fchmod", "fchown")
_MADE = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_RDWR


@contextmanager
def installed(injector: Injector, root: str) -> Iterator[None]:
    """Watch git, SQLite, and the files below ``root``, for the length of the block."""
    with ExitStack() as stack:
        for replacement in (*_git(injector), *_sql(injector), *_files(injector, os.path.realpath(root))):
            stack.enter_context(replacement)
        yield


# Git --------------------------------------------------------------------------------------------------------------


def _git(injector: Injector) -> Iterator[Any]:
    run, feed = Git.run, Git.feed

    def watched_run(self: Git, *args: str, **options: Any) -> Output:  # noqa: ANN401  # passed on
        output, _ = injector.through(_git_call(args), lambda: run(self, *args, **options), _git_error)
        return output

    @contextmanager
    def watched_feed(self: Git, *args: str, **options: Any) -> Iterator[tuple[IO[bytes], IO[bytes]]]:  # noqa: ANN401  # passed on
        mode = injector.before(_git_call(args), _git_error)
        with feed(self, *args, **options) as streams:
            yield streams
        injector.after(mode)

    yield patch.object(Git, "run", watched_run)
    yield patch.object(Git, "feed", watched_feed)


def _git_call(args: Sequence[str]) -> Call:
    command = " ".join(args[:2]) if args[0] in {"worktree", "config"} else args[0]
    return Call(Seam.GIT, command, writes=command in GIT_WRITES or command == "config --worktree")


def _git_error() -> Exception:
    return GitFailed("git failed: a test let it", "fatal: a test let it fail")


# SQLite -----------------------------------------------------------------------------------------------------------


def _sql(injector: Injector) -> Iterator[Any]:
    write, read = Database.write, Database.read

    def is_nested(database: Database) -> bool:
        return getattr(database._local, "connection", None) is not None  # noqa: SLF001  # the seam's own state

    @contextmanager
    def watched_write(self: Database, *args: Any, **options: Any) -> Iterator[Any]:  # noqa: ANN401  # passed on
        if is_nested(self):
            with write(self, *args, **options) as connection:
                yield connection
            return
        mode = injector.before(Call(Seam.SQL, "write", writes=True), _locked)
        with write(self, *args, **options) as connection:
            yield connection
        injector.after(mode)

    @contextmanager
    def watched_read(self: Database, *args: Any, **options: Any) -> Iterator[Any]:  # noqa: ANN401  # passed on
        if not is_nested(self):
            injector.before(Call(Seam.SQL, "read", writes=False), _locked)
        with read(self, *args, **options) as connection:
            yield connection

    yield patch.object(Database, "write", watched_write)
    yield patch.object(Database, "read", watched_read)


def _locked() -> Exception:
    return Retryable("DatabaseLocked", "the database was locked: a test did it", delay=1.0)


# Files ------------------------------------------------------------------------------------------------------------


def _files(injector: Injector, root: str) -> Iterator[Any]:
    def watch(what: str, act: Callable[..., Any], where: Callable[..., str]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # passed on
            if not injector.active or not _is_below(root, where(*args, **options)):
                return act(*args, **options)
            call = Call(Seam.FILE, what, writes=True)
            made, _ = injector.through(
                call, lambda: act(*args, **options), lambda: _full(args), lambda result: _let_go(what, result)
            )
            return made

        return watched

    for name in _PATH_FIRST:
        yield patch.object(os, name, watch(name, getattr(os, name), _first))
    for name in _TWO_PATHS:
        yield patch.object(os, name, watch(name, getattr(os, name), _second))
    for name in _BY_DESCRIPTOR:
        yield patch.object(os, name, watch(name, getattr(os, name), _descriptor))
    yield patch.object(os, "open", watch("create", os.open, _created))
    opened = watch("create", builtins.open, _opened)
    yield patch.object(builtins, "open", opened)
    yield patch.object(io, "open", opened)  # what pathlib calls
    tree = watch("tree", safe_files._run_on_tree, _tree)  # noqa: SLF001  # where folders are removed and given away
    yield patch.object(safe_files, "_run_on_tree", tree)
    bind = watch("bind", listener._bind, _first)  # noqa: SLF001  # where an agent's socket is made
    yield patch.object(listener, "_bind", bind)


def _let_go(what: str, made: Any) -> None:  # noqa: ANN401  # a descriptor, a stream or a socket
    """Close what a process that dies has open; the file or socket stays."""
    if isinstance(made, int):
        os.close(made)
    elif what in {"create", "bind"}:
        made.close()


def _full(args: tuple[object, ...]) -> OSError:
    name = next((str(each) for each in args if isinstance(each, str | os.PathLike)), None)
    return OSError(errno.ENOSPC, "No space left on device: a test says so", name)


def _is_below(root: str, path: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def _place(path: object, dir_fd: int | None = None) -> str:
    """Return the absolute path of something that may be named relative to an open folder."""
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    text = os.fsdecode(path) if isinstance(path, bytes | str | os.PathLike) else ""
    if text.startswith("/proc/self/fd/"):
        number, _, rest = text.removeprefix("/proc/self/fd/").partition("/")
        return os.path.join(os.readlink(f"/proc/self/fd/{number}"), rest)
    if dir_fd is not None and not text.startswith("/"):
        return os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), text)
    return os.path.abspath(text)


def _first(path: object, *_: object, dir_fd: int | None = None, **__: object) -> str:
    return _place(path, dir_fd)


def _second(_: object, target: object, *__: object, dst_dir_fd: int | None = None, **___: object) -> str:
    return _place(target, dst_dir_fd)


def _descriptor(fd: int, *_: object) -> str:
    return _place(fd)


def _created(path: object, flags: int, *_: object, dir_fd: int | None = None, **__: object) -> str:
    return _place(path, dir_fd) if flags & _MADE else ""


def _opened(path: object, mode: str = "r", *_: object, **__: object) -> str:
    return _place(path) if set(mode) & set("wax+") and not isinstance(path, int) else ""


def _tree(*command: str, check: bool) -> str:
    del check
    return command[-1]
