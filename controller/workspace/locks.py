"""Locks between threads and processes: one per repository for worktrees, one per instance for everything else.

Git's own ``worktree add`` races with itself (seen with git 2.39: ``failed to read .git/worktrees/N/commondir``
in one of ten at sixteen in parallel). ``flock`` on an existing folder needs no file of ours in the user's
repository, ends with the process, and can be handed to a git that outlives us: while an orphan of a killed
controller is still adding a worktree, nobody else starts.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from controller.errors import Retryable

_POLL = 0.02


class _Turn:
    """One thread of this process at a time; in a class, because a lock itself cannot be referred to weakly."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


_guard = threading.Lock()
_turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()
"""By folder, for as long as anybody has it or waits for it."""


@contextmanager
def folder_lock(path: str, *, timeout: float = 60.0) -> Iterator[int]:
    """Hold the lock of a folder; yields the descriptor that carries it.

    Raises:
        Retryable: ``Busy`` when another thread or process holds it for longer than ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    with _guard:
        turn = _turns.setdefault(os.path.realpath(path), _Turn())
    if not turn.lock.acquire(timeout=timeout):
        raise _busy(path, timeout)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _flock(fd, path, deadline, timeout)
            yield fd
        finally:
            os.close(fd)
    finally:
        turn.lock.release()


def _flock(fd: int, path: str, deadline: float, timeout: float) -> None:
    waiting = threading.Event()  # never set: flock has no timeout of its own, so this polls it with a deadline
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise _busy(path, timeout) from error
            waiting.wait(_POLL)
        else:
            return


def _busy(path: str, timeout: float) -> Retryable:
    return Retryable("Busy", f"{path} has been locked by another operation for {timeout:g} s", delay=2.0)
