"""Commands and terminals beside a running workload: in its environment, its cgroup and as its user.

They are children of the controller, marked like everything of the workload, so they end with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.errors import Retryable
from controller.runtime.protocol import MAX_OUTPUT, ExecResult, not_running

from .cgroups import Cgroup

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_END_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command runs."""

    env: Mapping[str, str]
    workdir: str
    user: tuple[int, int] | None
    cgroup: Cgroup


def _start(place: Place, argv: Sequence[str], stdin: int, stdout: int, *, session: bool) -> subprocess.Popen[bytes]:
    user, group = place.user if place.user is not None else (None, None)
    process = subprocess.Popen(  # noqa: S603  # what a person asked for
        list(argv),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.STDOUT if stdout == subprocess.PIPE else stdout,
        cwd=place.workdir,
        env=dict(place.env),
        user=user,
        group=group,
        extra_groups=None if place.user is None else [],
        start_new_session=session,
        umask=0o022,
    )
    with contextlib.suppress(OSError):  # ended already
        place.cgroup.enter(process.pid)
    return process


def run_command(place: Place, argv: Sequence[str], *, timeout: float) -> ExecResult:
    """Run a command and return its output, both streams as they came, of which the first MiB is kept.

    Raises:
        Retryable: ``ExecTimeout``, it did not end in time and was killed; ``WorkloadNotRunning``.
    """
    deadline = time.monotonic() + timeout
    try:
        process = _start(place, argv, subprocess.DEVNULL, subprocess.PIPE, session=True)
    except FileNotFoundError as error:
        return ExecResult(_NOT_FOUND, f"{error.strerror}: {error.filename}\n".encode())
    except OSError as error:
        return ExecResult(_NOT_EXECUTABLE, f"{error.strerror}: {error.filename}\n".encode())
    with process:
        try:
            output = _read_all(process, deadline)
            return ExecResult(_code(process.wait(max(deadline - time.monotonic(), 0.1))), output)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise Retryable("ExecTimeout", f"{argv[0]!r} did not end within {timeout:g} s and was killed") from None
        finally:
            _kill_group(process)


def _read_all(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    stream = process.stdout
    if stream is None:
        return b""
    output = bytearray()
    poller = select.poll()
    poller.register(stream, select.POLLIN)
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not poller.poll(remaining * 1000):
            raise TimeoutError
        data = os.read(stream.fileno(), 65536)
        if not data:
            return bytes(output)
        output += data[: MAX_OUTPUT - len(output)]


def _code(status: int) -> int:
    return status if status >= 0 else 128 - status


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:  # not asked for yet, so the pid is still its
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class PtyTerminal:
    """A program with a terminal; see ``AttachStream``. Reading and writing may happen in different threads."""

    def __init__(self, ours: int) -> None:
        self._ours = ours
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC)
        self._closing = threading.Lock()
        self._closed = False

    def read(self, size: int = 65536) -> bytes:
        """Return the next bytes, ``b""`` when the program ended or the terminal was closed; blocks."""
        poller = select.poll()
        with self._closing:
            if self._closed:
                return b""
            poller.register(self._ours, select.POLLIN)
            poller.register(self._woken, select.POLLIN)
        poller.poll()
        with self._closing:
            if self._closed:
                return b""
            try:
                return os.read(self._ours, size)
            except OSError as error:
                if error.errno != errno.EIO:  # how the kernel says that nobody has the other end any more
                    raise
                return b""

    def write(self, data: bytes) -> None:
        """Send keystrokes.

        Raises:
            Retryable: ``WorkloadNotRunning``, the program ended.
        """
        rest = memoryview(data)
        poller = select.poll()
        while rest:
            with self._closing:
                if self._closed:
                    raise not_running("the terminal is closed")
                poller.register(self._ours, select.POLLOUT)
                try:
                    rest = rest[os.write(self._ours, rest) :]
                except BlockingIOError:
                    pass
                except OSError as error:
                    raise not_running("the terminal is closed") from error
            if rest:
                poller.poll(1000)  # a program that does not read: let our own reader go on meanwhile

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's new size; the end of the program is found out by reading, not here."""
        with self._closing, contextlib.suppress(OSError):
            if not self._closed:
                set_size(self._ours, columns, rows)

    def close(self) -> None:
        """Close it and wake whoever reads; idempotent."""
        with self._closing:
            if not self._closed:
                self._closed = True
                os.close(self._wake)
                os.close(self._ours)
                os.close(self._woken)


def set_size(terminal: int, columns: int, rows: int) -> None:
    """Set a terminal's size (TIOCSWINSZ); the program gets SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextlib.contextmanager
def open_terminal(place: Place, argv: Sequence[str], *, columns: int, rows: int) -> Iterator[PtyTerminal]:
    """Run a program with a terminal of the given size; it gets SIGHUP when the block is left."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    terminal = PtyTerminal(ours)
    try:
        set_size(ours, columns, rows)
        if place.user is not None:
            os.fchown(theirs, *place.user)
        # setsid(1), not start_new_session: the terminal has to become the session's own.
        process = _start(place, ["setsid", "--ctty", *argv], theirs, theirs, session=False)
    except OSError as error:
        terminal.close()
        raise not_running(f"{argv[0]!r} cannot be run: {error.strerror}") from error
    finally:
        os.close(theirs)
    try:
        yield terminal
    finally:
        _hang_up(process)
        terminal.close()


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    """End the program and its children as a closed terminal does, and then for certain."""
    with process:
        for number in (signal.SIGHUP, signal.SIGKILL):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
