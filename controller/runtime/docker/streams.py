"""Commands and terminals inside a running container, over the engine's exec.

An exec costs 40 ms of CPU: people's requests come here, probes never do. The engine leaves a program running when
its caller goes away, so each gets a mark in its environment by which it is found and ended.
"""

from __future__ import annotations

import logging
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from threading import Event
from typing import cast

import requests

from controller.errors import CcoError, Retryable, Unavailable
from controller.runtime.protocol import MAX_OUTPUT, ExecResult, not_running

from .engine import LOOK_SECONDS, Engine, Failed, Refused, socket_of

logger = logging.getLogger(__name__)

_MARK = "CCO_EXEC"
_END = 'for p in /proc/[0-9]*; do grep -qsa "$1" "$p/environ" && kill -s "$2" "${p#/proc/}"; done; true'
# The engine holds back the first byte of its detach sequence until the next key is pressed. Its default begins with
# Ctrl-P, which people do press; this one begins with a key that next to nobody does, and is never typed by chance.
DETACH_KEYS = "ctrl-^,d,e,t,a,c,h"
_RESIZE_SECONDS = 2.0
_FRAME_HEADER = 8


class _Connection:
    """The two-way byte stream an exec becomes after its HTTP headers."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        # The reader that parsed the headers may hold the program's first bytes already: read on with it, not with
        # the socket. Neither requests nor urllib3 has a public way to it.
        parsed = cast("HTTPResponse", response.raw._fp)  # noqa: SLF001  # see above
        self._reader = parsed.fp
        self.socket = socket_of(response)

    def read(self, size: int) -> bytes:
        try:
            return self._reader.read1(size)
        except (ConnectionError, ValueError):  # reset by the engine; closed by us
            return b""

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._response.close()


class _Exec:
    """One program started in a container."""

    def __init__(self, engine: Engine, container: str, argv: Sequence[str], *, tty: bool) -> None:
        self._engine = engine
        self._container = container
        self._mark = f"{_MARK}={secrets.token_hex(8)}"
        try:
            with engine.call(f"run {argv[0]!r}") as client:
                self.id: str = client.exec_create(
                    container, list(argv), stdin=tty, tty=tty, environment=[self._mark], detach_keys=DETACH_KEYS
                )["Id"]
                response = engine.request(
                    client,
                    "POST",
                    f"/exec/{self.id}/start",
                    json={"Tty": tty, "Detach": False},
                    headers={"Connection": "Upgrade", "Upgrade": "tcp"},
                    stream=True,
                )
        except Refused as refused:
            raise not_running(refused.text) from refused
        self.connection = _Connection(response)

    def exit_code(self, deadline: float) -> int:
        """Return the exit code; it is known a moment after the output ended."""
        while True:
            with self._engine.call("tell how the command ended") as client:
                state = client.exec_inspect(self.id)
            if not state["Running"]:
                return int(state["ExitCode"])
            if time.monotonic() >= deadline:
                raise Unavailable("RuntimeUnavailable", "the Docker engine does not tell how the command ended")
            Event().wait(0.01)

    def resize(self, columns: int, rows: int) -> None:
        with self._engine.call("resize the terminal") as client:
            client.exec_resize(self.id, height=rows, width=columns)

    def end(self, signal: str) -> None:
        """Send the signal to the program and its children, if they still run."""
        with suppress(CcoError), self._engine.call("end the command") as client:
            if client.exec_inspect(self.id)["Running"]:
                argv = ["/bin/sh", "-c", _END, "sh", self._mark, signal]
                client.exec_start(client.exec_create(self._container, argv)["Id"])


def run_command(engine: Engine, container: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
    """Run a command and return its output, both streams as they came, of which the first MiB is kept.

    Raises:
        Retryable: ``ExecTimeout``, it did not end in time and was killed; ``WorkloadNotRunning``.
    """
    deadline = time.monotonic() + timeout
    program = _Exec(engine, container, argv, tty=False)
    try:
        output = bytearray()
        for data in _frames(program.connection, deadline):
            output += data[: MAX_OUTPUT - len(output)]
        return ExecResult(program.exit_code(deadline + 1), bytes(output))
    except TimeoutError:
        program.end("KILL")
        raise Retryable("ExecTimeout", f"{argv[0]!r} did not end within {timeout:g} s and was killed") from None
    finally:
        program.connection.close()


def _frames(connection: _Connection, deadline: float) -> Iterator[bytes]:
    """Yield the payloads of the engine's frames: stream (1), zeros (3), length (4, big-endian), payload."""
    received = bytearray()
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.socket.settimeout(remaining)
        data = connection.read(65536)
        if not data:
            return
        received += data
        while len(received) >= _FRAME_HEADER:
            end = _FRAME_HEADER + int.from_bytes(received[4:8], "big")
            if len(received) < end:
                break
            yield bytes(received[_FRAME_HEADER:end])
            del received[:end]


class DockerTerminal:
    """A program with a terminal; see ``AttachStream``. Reading and writing may happen in different threads."""

    def __init__(self, program: _Exec) -> None:
        self._program = program

    def read(self, size: int = 65536) -> bytes:
        """Return the next bytes, ``b""`` when the program ended or the terminal was closed; blocks."""
        return self._program.connection.read(size)

    def write(self, data: bytes) -> None:
        """Send keystrokes.

        Raises:
            Retryable: ``WorkloadNotRunning``, the program ended.
        """
        try:
            self._program.connection.socket.sendall(data)
        except OSError as error:
            raise not_running("the terminal is closed") from error

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's new size; the end of the program is found out by reading, not here."""
        with suppress(Refused, Failed):
            self._program.resize(columns, rows)


@contextmanager
def open_terminal(
    engine: Engine, container: str, argv: Sequence[str], *, columns: int, rows: int
) -> Iterator[DockerTerminal]:
    """Run a program with a terminal of the given size; it gets SIGHUP when the block is left."""
    program = _Exec(engine, container, argv, tty=True)
    try:
        program.connection.socket.settimeout(None)  # people think; whoever waits is woken by the end of the block
        _first_resize(program, columns, rows)
        yield DockerTerminal(program)
    finally:
        program.connection.close()
        program.end("HUP")


def _first_resize(program: _Exec, columns: int, rows: int) -> None:
    # The engine answers before the program has a terminal to resize.
    deadline = time.monotonic() + min(_RESIZE_SECONDS, LOOK_SECONDS)
    while True:
        try:
            program.resize(columns, rows)
        except (Refused, Failed) as error:
            if time.monotonic() >= deadline:
                logger.warning("terminal was not resized", extra={"cco_reason": error.message})
                return
            Event().wait(0.02)
        else:
            return
