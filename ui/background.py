"""The server as a process of its own in the background: what ``cco web`` starts, finds and stops.

What is known of it is one file in the state directory. A process's number alone proves nothing, because the kernel
gives it to another one later; together with the time of its start it does.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from api.client import ApiError, Health, ServerUnavailable
from controller.errors import Conflict, Terminal, Unavailable
from controller.settings import Settings

from .own_server import own_client

if TYPE_CHECKING:
    import psutil

START_SECONDS = 60.0
STOP_SECONDS = 20.0
"""What uvicorn may take to end what is open; then it is killed, which harms nothing but those answers."""
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Started:
    """A server that ``cco web start`` made.

    Attributes:
        created: seconds since the epoch, as the kernel tells it of the process.
    """

    pid: int
    created: float
    url: str

    def process(self) -> psutil.Process | None:
        """Return the process, if it is still this one."""
        import psutil  # noqa: PLC0415  # the command line alone comes without it, and has started nothing

        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(self.pid)
            if process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def answer(settings: Settings) -> Health | None:
    """Return what the server at the settings' address says of itself; ``None`` where none of ours answers."""
    with own_client(settings, None) as client, suppress(ApiError, ServerUnavailable):
        return client.health()
    return None


def log_file(settings: Settings) -> Path:
    """Where the newest server in the background writes its log; the one before it is beside it, ``.1``."""
    return settings.state_dir / "web.log"


def find(settings: Settings) -> Started | None:
    """Return the server that runs in the background, ``None`` if none does."""
    with suppress(FileNotFoundError), _record(settings).open(encoding="utf-8") as record:
        return _read(record)
    return None


def start(settings: Settings) -> Started:
    """Start a server and return when it answers; idempotent: one that runs is returned as it is.

    Raises:
        Conflict: another call is at it.
        Terminal: ``ServerFailed``: it ended; the message has its last words.
        Unavailable: ``ServerSilent``: it did not answer in time and was stopped.
    """
    import psutil  # noqa: PLC0415  # the command line alone comes without it, and has started nothing

    with _alone(settings) as record:
        found = _read(record)
        if found is not None:
            return found
        process = _spawn(settings)
        started = Started(process.pid, psutil.Process(process.pid).create_time(), settings.url)
        _write(record, started)
        try:
            _await_answer(settings, process)
        except (Terminal, Unavailable):
            _end(started)
            process.wait(STOP_SECONDS)
            _write(record, None)
            raise
        return started


def stop(settings: Settings) -> Started | None:
    """Stop the server in the background and return what it was; idempotent.

    Raises:
        Conflict: another call is at it.
    """
    if not _record(settings).exists():
        return None
    with _alone(settings) as record:
        found = _read(record)
        if found is not None:
            _end(found)
        _write(record, None)
        return found


def _record(settings: Settings) -> Path:
    return settings.state_dir / "web.json"


@contextmanager
def _alone(settings: Settings) -> Iterator[IO[str]]:
    """Open the record for whoever is first."""
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _record(settings)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+", encoding="utf-8") as record:
        try:
            fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("WebBusy", "another 'cco web' is starting or stopping the server: try again") from None
        yield record


def _read(record: IO[str]) -> Started | None:
    record.seek(0)
    try:
        found = Started(**json.load(record))
    except (ValueError, TypeError):  # empty, or cut off while it was written
        return None
    return found if found.process() is not None else None


def _write(record: IO[str], started: Started | None) -> None:
    record.seek(0)
    record.truncate()
    record.write("" if started is None else json.dumps(asdict(started)))
    record.flush()


def _spawn(settings: Settings) -> subprocess.Popen[bytes]:
    log = log_file(settings)
    with suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.name}.1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603  # our own module and a number
            [sys.executable, "-m", "ui.server", "--port", str(settings.port)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _await_answer(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while answer(settings) is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(PAUSE_SECONDS)
            raise Terminal("ServerFailed", _last_words(settings))
        if time.monotonic() > deadline:
            message = f"the server did not answer at {settings.url} within {START_SECONDS:g} s: {_last_words(settings)}"
            raise Unavailable("ServerSilent", message)


def _last_words(settings: Settings) -> str:
    log = log_file(settings)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1]} (see {log})" if lines else f"it said nothing (see {log})"


def _end(started: Started) -> None:
    import psutil  # noqa: PLC0415  # the command line alone comes without it, and has started nothing

    process = started.process()
    if process is None:
        return
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
