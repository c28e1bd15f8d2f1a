"""A unix socket in front of the Docker engine's, which a test can break without touching the engine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

ENGINE = "/var/run/docker.sock"


class EngineProxy:
    """Passes bytes both ways until it is told to misbehave.

    Args:
        heard: called with everything that is sent to the engine.

    Attributes:
        connections: how many were accepted so far.
    """

    def __init__(self, path: Path, engine: str = ENGINE, heard: Callable[[bytes], None] | None = None) -> None:
        self.path = path
        self.connections = 0
        self._engine = engine
        self._heard = heard or (lambda _: None)
        self._refusing = False
        self._silent = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    @property
    def url(self) -> str:
        """What ``DOCKER_HOST`` would be."""
        return f"unix://{self.path}"

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._silent.set()
        self.cut()

    def cut(self) -> None:
        """Break every open connection."""
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Break every connection, the open ones and those to come."""
        self._refusing = True
        self.cut()

    def serve(self) -> None:
        """Pass bytes again."""
        self._refusing = False
        self._silent.clear()

    def go_silent(self) -> None:
        """Accept connections and requests, and answer nothing, as a stopped engine process does."""
        self._silent.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._refusing:
                client.close()
                continue
            engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                engine.connect(self._engine)
            except OSError:  # there is none: to whoever asks it looks like one that has just gone
                client.close()
                engine.close()
                continue
            with self._lock:
                self._open |= {client, engine}
            for source, target, heard in ((client, engine, self._heard), (engine, client, lambda _: None)):
                threading.Thread(target=self._pass_on, args=(source, target, heard), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, heard: Callable[[bytes], None]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._silent.is_set():
                    heard(data)
                    target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        with self._lock:
            self._open.discard(source)
            done = target not in self._open
        if done:
            source.close()
            target.close()
