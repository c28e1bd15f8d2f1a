"""The controller's end of the agent protocol, for tests of the agent: keeps what it is told, says what it is asked to.

The product's own end is `controller.agents`; the end-to-end tests use that one.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Report = dict[str, Any]


class AgentController:
    """Listens on a unix socket in `folder`; a context that is closed at its end.

    Attributes:
        reports: every report, oldest first.
        lines: the raw lines, to look for secrets in.
    """

    def __init__(self, folder: Path, credentials: Mapping[str, str]) -> None:
        self.reports: list[Report] = []
        self.lines: list[bytes] = []
        self.credentials = dict(credentials)
        self._path = folder / "controller.sock"
        self._news = threading.Condition()
        self._connection: socket.socket | None = None
        self._server: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(str(self._path))
        self._path.chmod(0o666)
        server.listen()
        self._server = server
        self._thread = threading.Thread(target=self._accept, args=(server,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and hang up, as a controller that stops does; idempotent."""
        for end in (self._server, self._connection):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        if self._thread is not None:
            self._thread.join(5)
        self._server = self._connection = self._thread = None
        self._path.unlink(missing_ok=True)

    def send(self, message: Mapping[str, Any]) -> None:
        """Say something to the agent that is connected."""
        assert self._connection is not None, "no agent is connected"
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def send_input(self, input_id: str, text: str) -> None:
        self.send({"type": "input", "id": input_id, "text": text})

    def wait_for(self, wanted: Callable[[Report], bool], seconds: float = 20, *, after: int = 0) -> Report:
        """The first report from number `after` on that is as wanted."""
        deadline = time.monotonic() + seconds
        seen = after
        with self._news:
            while True:
                for report in self.reports[seen:]:
                    if wanted(report):
                        return report
                seen = max(seen, len(self.reports))
                left = deadline - time.monotonic()
                last = self.reports[-1] if self.reports else None
                assert left > 0, f"no such report within {seconds} s; {seen} reports, the last: {last}"
                self._news.wait(left)

    def wait_for_state(self, state: str, seconds: float = 20, *, after: int = 0) -> Report:
        return self.wait_for(lambda report: bool(report["session"]["state"] == state), seconds, after=after)

    def wait_for_input(self, input_id: str, seconds: float = 20) -> dict[str, Any]:
        """The acknowledgement of an input."""

        def held(report: Report) -> list[dict[str, Any]]:
            return [entry for entry in report["inputs"] if entry["id"] == input_id]

        return held(self.wait_for(lambda report: bool(held(report)), seconds))[0]

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                self._connection = connection
                self.send({"type": "credentials", "values": self.credentials})
                self._read(connection)

    def _read(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            for line in lines:
                with self._news:
                    self.lines.append(line)
                    self.reports.append(json.loads(line))
                    self._news.notify_all()
