"""One controller per state directory: who holds it, how a standby gets it, how a holder learns that it lost it.

A holder keeps an exclusive ``flock`` on ``controller.lock`` and touches that file once a second. The kernel lets the
lock go when its holder dies, however that happens, so a standby follows at once. A holder that is only paused keeps
its lock for ever and touches nothing: after a lease without a touch, a standby puts a file of its own in the place of
the old one and goes on. The paused one is not asked. That it does no harm when it wakes is the fence's part (see
``store.fence``); here it merely finds out soon. Wall clocks play no part: a touch is seen as *another* time stamp,
and silence is counted by the standby's own clock. See ``docs/adr/0007-one-controller.md``.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Fenced, Terminal
from .state_directory import unusable

logger = logging.getLogger(__name__)

LOCK_NAME = "controller.lock"
GUARD_NAME = "controller.lock.guard"

STOP_IT = "stop it, or set another CCO_STATE_DIR"

POLL_SECONDS = 0.1
"""How often a standby looks; a look is two system calls."""

HEARTBEAT_SECONDS = 1.0

LONGEST_LOOK_SECONDS = 1.0
"""A standby that looks more seldom than this was not looking."""

GUARD_SECONDS = 0.5
"""How long the short step of taking the lock may be somebody else's."""


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock, held until :meth:`release` or the end of the process.

    Attributes:
        holder: who we are, for people, as it stands in the file.
    """

    path: Path
    descriptor: int
    holder: str

    def is_current(self) -> bool:
        """Tell whether the file we hold is still the one everybody looks at; a look that fails says nothing."""
        try:
            return _same_file(self.descriptor, self.path)
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def touch(self) -> None:
        """Show that we are awake. Through the descriptor, so never on a file that is somebody else's by now."""
        with contextlib.suppress(OSError):  # then a standby takes over, which is what a standby is for
            os.utime(self.descriptor)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self.descriptor)


def take(directory: Path, way_out: str = STOP_IT) -> Lock:
    """Take the lock or say who has it; returns within a second.

    Args:
        directory: the state directory.
        way_out: what whoever is refused can do; not every program can stand by.

    Raises:
        Terminal: ``ControllerRunning``, naming the process that holds it; ``StateDirectoryUnusable``.
    """
    path = directory / LOCK_NAME
    deadline = time.monotonic() + GUARD_SECONDS
    while True:
        with _guard(directory) as alone:
            lock = _take(path) if alone else None
        if lock is not None:
            return lock
        if alone or time.monotonic() > deadline:
            raise Terminal(
                "ControllerRunning",
                f"another controller (process {_holder(path)}) uses {directory}: {way_out}",
            )
        time.sleep(0.01)


def wait_for(directory: Path, lease: float, stop: threading.Event) -> Lock | None:
    """Wait until the holder is gone, or was silent for ``lease`` seconds; ``None`` when ``stop`` was set meanwhile.

    Raises:
        Terminal: ``StateDirectoryUnusable``.
    """
    path = directory / LOCK_NAME
    silence = Silence(lease)
    told = ""
    while not stop.is_set():
        with _guard(directory) as alone:
            lock = _take(path) if alone else None
            if alone and lock is None and silence.is_over_lease(path):
                logger.warning("silent controller replaced", extra={"cco_holder": _holder(path), "cco_lease": lease})
                lock = _replace(path)
        if lock is not None:
            return lock
        if told != (holder := _holder(path)):
            told = holder
            logger.info("standing by", extra={"cco_holder": holder, "cco_lease": lease})
        stop.wait(POLL_SECONDS)
    return None


@dataclass(slots=True)
class Silence:
    """Counts how long a holder has not touched its file.

    Only time in which we looked counts: a standby that was paused itself, together with the whole machine perhaps,
    has not seen anybody being silent.
    """

    lease: float
    clock: Callable[[], float] = time.monotonic
    _seconds: float = 0.0
    _looked_at: float | None = None
    _stamp: tuple[int, int] | None = field(default=None)

    def is_over_lease(self, path: Path) -> bool:
        """Look at the file; tell whether it has been left alone for longer than the lease."""
        now = self.clock()
        try:
            status = path.stat()
        except OSError:
            return False
        stamp = (status.st_ino, status.st_mtime_ns)
        if stamp != self._stamp or self._looked_at is None:
            self._stamp, self._seconds = stamp, 0.0
        else:
            self._seconds += min(now - self._looked_at, LONGEST_LOOK_SECONDS)
        self._looked_at = now
        return self._seconds > self.lease


@contextlib.contextmanager
def heartbeat(lock: Lock, lost: Callable[[Terminal], object], interval: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Touch the lock all the while, and call ``lost`` (from another thread, once) when it is ours no more."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(interval):
            if not lock.is_current():
                lost(_taken_over(lock))
                return
            lock.touch()

    thread = threading.Thread(target=beat, name="leadership", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5.0)


def _taken_over(lock: Lock) -> Fenced:
    try:
        who = f"another controller (process {_read(lock.path)}) has taken over"
    except OSError:
        who = f"{lock.path} was removed"
    return Fenced("Fenced", f"{who}; this one (process {lock.holder}) has stopped all work and changes nothing more")


@contextlib.contextmanager
def _guard(directory: Path) -> Iterator[bool]:
    """Give the right to take or replace the lock file, if nobody else has it at this moment."""
    descriptor = _open(directory / GUARD_NAME)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _take(path: Path) -> Lock | None:
    descriptor = _open(path)
    # Whoever opened the file just before it was replaced would hold a lock that nobody looks at.
    if not _lock(descriptor) or not _same_file(descriptor, path):
        os.close(descriptor)
        return None
    return Lock(path, descriptor, _sign(descriptor))


def _replace(path: Path) -> Lock:
    made = path.with_name(f"{LOCK_NAME}.new")  # under the guard, so this name is ours alone
    made.unlink(missing_ok=True)
    descriptor = _open(made)
    _lock(descriptor)
    lock = Lock(path, descriptor, _sign(descriptor))
    made.replace(path)
    return lock


def _sign(descriptor: int) -> str:
    holder = f"{os.getpid()} on {os.uname().nodename}"
    line = f"{holder}\n".encode()
    try:
        os.pwrite(descriptor, line, 0)
        os.ftruncate(descriptor, len(line))
    except OSError:  # a full disk: whoever takes over has to take over all the same, and this is for people only
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)  # rather nobody than the one before
    return holder


def _holder(path: Path) -> str:
    try:
        return _read(path)
    except OSError:
        return "unknown"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[:100].strip() or "unknown"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    ours, theirs = os.fstat(descriptor), path.stat()
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise unusable(path.parent, error) from error
