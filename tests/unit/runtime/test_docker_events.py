"""The engine's events, from an engine that sends whatever a test wants, over a real socket."""

from __future__ import annotations

import json
import queue
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import docker
import pytest

from controller.runtime.docker.engine import Engine
from controller.runtime.docker.events import watch_events
from controller.runtime.docker.remembered import RunningContainers
from controller.runtime.protocol import LABEL_UID, Resync
from support.deadline import eventually

LONGEST_SECONDS = 10.0
RESYNC = "resync"


def event(uid: str, action: str = "start") -> bytes:
    return json.dumps({"Action": action, "Actor": {"ID": "c1", "Attributes": {LABEL_UID: uid}}}).encode() + b"\n"


class Sender(socketserver.ThreadingUnixStreamServer):
    """Answers every request for events with the next of its scripts; after the last one it stays silent."""

    daemon_threads = True

    def __init__(self, path: Path, scripts: list[list[bytes]]) -> None:
        super().__init__(str(path), _Answer)
        self.scripts = scripts
        self.asked = 0
        self.over = threading.Event()


class _Answer(BaseHTTPRequestHandler):
    server: Sender
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "a unix socket"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  # as in the class above
        del format, args

    def do_GET(self) -> None:
        lines = self.server.scripts[min(self.server.asked, len(self.server.scripts) - 1)]
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if self.server.asked >= len(self.server.scripts):
            self.server.over.wait(LONGEST_SECONDS)
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True


class Watch:
    """What a watch over such an engine yields."""

    def __init__(self, path: Path, *scripts: list[bytes]) -> None:
        self.sender = Sender(path, list(scripts))
        self.running = RunningContainers("cco")
        self._client = docker.APIClient(base_url=f"unix://{path}", version="1.43")
        self._stop = threading.Event()
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=run) for run in (self._serve, self._run)]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        self.sender.serve_forever(poll_interval=0.02)

    def _run(self) -> None:
        for change in watch_events(Engine(self._client), "ours", self.running, self._stop):
            self._told.put(RESYNC if isinstance(change, Resync) else change)

    def expect(self, *changes: str) -> None:
        assert [self._told.get(timeout=LONGEST_SECONDS) for _ in changes] == list(changes)

    def close(self) -> None:
        self._stop.set()
        self.sender.over.set()
        self._threads[1].join(LONGEST_SECONDS)
        self.sender.shutdown()
        self.sender.server_close()
        self._client.close()
        eventually(lambda: "docker-events" not in _names(), timeout=LONGEST_SECONDS, what="the end of the thread")


def _names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.sock"


@pytest.fixture
def watches() -> Iterator[list[Watch]]:
    made: list[Watch] = []
    yield made
    for each in made:
        each.close()


ODD: dict[str, bytes] = {
    "half a line": event("u2")[:30] + b"\n",
    "not JSON": b"an error occurred\n",
    "not text": b"\xff\xfe\n",
    "JSON and no object": b"[1]\n",
    "an object of another kind": b'{"message": "internal error"}\n',
    "nobody's": b'{"Action": "start", "Actor": {"ID": "c1", "Attributes": null}}\n',
    "deep JSON": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("name", ODD)
def test_after_an_odd_line_it_connects_again(
    name: str, path: Path, watches: list[Watch], caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(path, [event("u1"), ODD[name], event("lost")], [event("u3")])
    watches.append(watch)
    watch.expect(RESYNC, "u1", RESYNC, "u3")
    assert caplog.messages == ["lost the docker events"]


def test_an_engine_that_sends_nothing_else_is_not_asked_without_a_pause(path: Path, watches: list[Watch]) -> None:
    watch = Watch(path, *[[b"no\n"]] * 50)
    watches.append(watch)
    watch.expect(*[RESYNC] * 3)
    threading.Event().wait(1.0)
    assert watch.sender.asked <= 6


def test_empty_lines_and_the_end_of_the_answer_are_nothing_odd(
    path: Path, watches: list[Watch], caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(path, [b"\n", event("u1")], [event("u2")])
    watches.append(watch)
    watch.expect(RESYNC, "u1", RESYNC, "u2")
    assert caplog.messages == []
