"""Processes as the kernel tells of them (proc(5), pidfd_open(2)).

A pid alone names nobody: it comes again, and after a reboot all do. So a process is known by boot, pid and start time
together, and a signal goes through a pidfd that was compared with all three.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_STOPPED = ("T", "t")
_DEAD = ("Z", "X", "x")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 0.02


@cache
def boot_id() -> str:
    """Return the identifier of this boot of the kernel."""
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@cache
def has_pidfds() -> bool:
    """Whether the kernel knows pidfd_open(2) and lets us call it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    parent: int
    threads: int
    started: int

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs; where only its first thread ended, the others go on under a zombie's letter."""
        return self.state in _DEAD and self.threads <= 1


def _stat(pid: int) -> _Stat | None:
    """Read ``/proc/PID/stat``; ``None`` when there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, and may hold anything.
    fields = text[text.rindex(b")") + 2 :].split()
    return _Stat(fields[0].decode(), int(fields[1]), int(fields[17]), int(fields[19]))


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for ever: no other one, at any time, has the same three."""

    boot: str
    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return who has this pid now, or ``None``."""
        seen = _stat(pid)
        return None if seen is None else cls(boot_id(), pid, seen.started)

    def state(self) -> str | None:
        """Return the kernel's letter for its state, ``None`` when it has ended; a zombie has."""
        if self.boot != boot_id():
            return None
        seen = _stat(self.pid)
        if seen is None or seen.started != self.started or seen.has_ended:
            return None
        return seen.state

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.state() is not None

    def is_stopped(self) -> bool:
        """Whether somebody stopped it (SIGSTOP)."""
        return self.state() in _STOPPED

    @contextlib.contextmanager
    def open(self) -> Iterator[int | None]:
        """Yield a pidfd that surely is this process, or ``None`` when it has ended."""
        if self.boot != boot_id():
            yield None
            return
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            # Opened first, compared then: who is behind the descriptor cannot change any more.
            yield descriptor if self.is_alive() else None
        finally:
            os.close(descriptor)

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; returns whether there was anybody to get it."""
        with self.open() as descriptor:
            if descriptor is None:
                return False
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                return False
            return True

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; returns whether it has. It need not be our child."""
        with self.open() as descriptor:
            if descriptor is None:
                return True
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            return bool(poller.poll(max(seconds, 0) * 1000))


def _all() -> dict[int, _Stat]:
    found = {}
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal() and (seen := _stat(int(entry.name))) is not None and not seen.has_ended:
            found[int(entry.name)] = seen
    return found


def descendants(pid: int) -> set[Identity]:
    """Return every living process below this one; complete for a subreaper, which inherits orphans."""
    everybody = _all()
    below: set[int] = set()
    found = {pid}
    while found:
        found = {child for child, seen in everybody.items() if seen.parent in found} - below
        below |= found
    return {Identity(boot_id(), each, everybody[each].started) for each in below}


def marked(mark: str) -> set[Identity]:
    """Return every living process that was started with this ``NAME=value`` in its environment, as far as we may look.

    For what left the tree of its ancestors; a process can hide from this, and then only a cgroup holds it.
    """
    wanted = mark.encode()
    found = set()
    for pid, seen in _all().items():
        with contextlib.suppress(OSError):
            if wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                found.add(Identity(boot_id(), pid, seen.started))
    return found


def identified(pids: Collection[int]) -> set[Identity]:
    """Return who has these pids now."""
    return {who for pid in pids if (who := Identity.of(pid)) is not None}


def pause_between_looks(seconds: float = _LOOK_SECONDS) -> None:
    """Wait a moment between two looks at something that tells nothing by itself."""
    time.sleep(seconds)


def adopt_orphans() -> None:
    """Let every orphan below this process become its child (PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """Let the kernel send this process SIGTERM when its parent dies; must follow every change of user.

    Raises:
        ProcessLookupError: it died before.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise ProcessLookupError(parent)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
