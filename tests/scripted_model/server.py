"""The scripted model server: the part of the Anthropic Messages API that Claude Code calls, over real HTTP.

`python -m scripted_model` starts it for the demo and for containers; tests use `ScriptedModel` as a context::

    with ScriptedModel() as model:
        ...  # run a client with ANTHROPIC_BASE_URL=model.url
        assert model.requests[-1].prompt == "the prompt, verbatim"

What it answers is decided in `script`. What was asked is kept (`Record`) and served at ``GET /_requests``;
credentials are kept as hashes only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from . import conversation, stream
from .script import ScriptError, Turn, next_turn

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

logger = logging.getLogger(__name__)

KEPT_REQUESTS = 1000
MAX_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """One `/v1/messages` request.

    Attributes:
        prompt: the newest human text, verbatim, without the client's paste tags.
        prompts: all human texts of the conversation, oldest first.
        api_key_sha256: hash of the `x-api-key` header's value, or None.
        authorization_sha256: hash of the `authorization` header's value without the scheme, or None.
        status: the HTTP status of our answer.
    """

    at: float
    model: str
    prompt: str
    prompts: tuple[str, ...]
    messages: int
    answers: int
    tools: int
    title: bool
    api_key_sha256: str | None
    authorization_sha256: str | None
    status: int


def secret_hash(value: str) -> str:
    """How a record names a credential."""
    return hashlib.sha256(value.encode()).hexdigest()


class ScriptedModel:
    """The server; `start` and `stop` are idempotent. Port 0 picks a free one, see `url`.

    Args:
        host: address to listen on.
        port: port to listen on.
        log: file that gets one JSON line per request.
        pace: seconds between two words, so that a demo looks alive.
        key: the only key, or token, that is answered; another or none gets a 401. Default: all are answered.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        log: Path | None = None,
        pace: float = 0.0,
        key: str | None = None,
    ) -> None:
        self._log = log
        self._pace = pace
        self._key_sha256 = None if key is None else secret_hash(key)
        self._lock = threading.Lock()
        self._records: deque[Record] = deque(maxlen=KEPT_REQUESTS)
        self._count = 0
        self._failures: Counter[tuple[str, int]] = Counter()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._server = _Server((host, port), self)
        self.host = host
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        """What to put into ANTHROPIC_BASE_URL."""
        return f"http://{self.host}:{self.port}"

    @property
    def requests(self) -> list[Record]:
        """The newest requests, oldest first, title calls included."""
        with self._lock:
            return list(self._records)

    def start(self) -> Self:
        """Begin to answer, in a thread."""
        if self._thread is None:
            serve = self._server.serve_forever
            self._thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.05}, daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Cut every connection and free the port."""
        self._stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(timeout=5)
            self._thread = None
        self._server.close_connections()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def decide(self, talk: conversation.Conversation) -> Turn:
        """The turn to play now, with failures that have been used up taken out."""
        if talk.wants_title:
            words = " ".join(talk.prompt.split()[:5]) or "Scripted session"
            return Turn(json.dumps({"title": words}))
        turn = next_turn(talk)
        if turn.fail_status is None:
            return turn
        with self._lock:
            key = (talk.prompt, talk.answers)
            self._failures[key] += 1
            used_up = turn.fail_times is not None and self._failures[key] > turn.fail_times
        return Turn(turn.text, turn.tool, turn.delay) if used_up else turn

    def lets_in(self, *presented: str | None) -> bool:
        """Whether one of the hashes is that of the key that is asked for, if one is."""
        return self._key_sha256 is None or self._key_sha256 in presented

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the server lives."""
        if seconds > 0:
            self._stopping.wait(seconds)

    def pause_between_words(self) -> None:
        """Wait for as long as `pace` says."""
        self.pause(self._pace)

    def keep(self, record: Record) -> int:
        """Remember a request; returns its number, from 1."""
        with self._lock:
            self._count += 1
            self._records.append(record)
            if self._log is not None:
                with self._log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(record)) + "\n")
            return self._count

    def report(self) -> dict[str, Any]:
        """The body of ``GET /_requests``."""
        with self._lock:
            records = [asdict(record) for record in self._records]
            count = self._count
        asked = [record["prompt"] for record in records if not record["title"]]
        return {"count": count, "last_prompt": asked[-1] if asked else None, "requests": records}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A burst of clients must not be refused: five at once is a test of the product.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], model: ScriptedModel) -> None:
        self.model = model
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - base class
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - base class
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - base class
        logger.debug("lost connection", extra={"client": client_address, "socket": request})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer(HTTPStatus.OK if self._path() == "/api/hello" else HTTPStatus.NOT_FOUND, b"")

    def do_GET(self) -> None:
        if self._path() == "/_requests":
            self._json(HTTPStatus.OK, self.server.model.report())
        elif self._path() in {"/", "/api/hello"}:
            self._json(HTTPStatus.OK, {"scripted_model": "ready"})
        else:
            self._json(HTTPStatus.NOT_FOUND, stream.error(404, f"no such page: {self._path()}"))

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            self._json(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, stream.error(413, "request too large"))
            return
        body = self.rfile.read(length)
        if self._path() != "/v1/messages":
            self._json(HTTPStatus.NOT_FOUND, stream.error(404, f"no such endpoint: {self._path()}"))
            return
        try:
            self._messages(json.loads(body))
        except (ValueError, AttributeError, TypeError) as error:
            self._json(HTTPStatus.BAD_REQUEST, stream.error(400, f"not a Messages request: {error}"))

    def _messages(self, request: dict[str, Any]) -> None:
        talk = conversation.read(request)
        model = self.server.model
        try:
            turn = model.decide(talk)
        except ScriptError as error:
            turn = Turn(text=f"This script cannot be played: {error}.")
        status = turn.fail_status or 200
        name = str(request.get("model") or "scripted")
        record = self._record(talk, name, len(request.get("messages") or []), status)
        if not model.lets_in(record.api_key_sha256, record.authorization_sha256):
            model.keep(replace(record, status=401))
            self._json(HTTPStatus.UNAUTHORIZED, stream.error(401, "invalid x-api-key"))
            return
        number = model.keep(record)
        model.pause(turn.delay)
        if turn.fail_status is not None:
            self._json(turn.fail_status, stream.error(turn.fail_status, "scripted failure"))
        elif request.get("stream"):
            self._stream(turn, number, name)
        else:
            self._json(HTTPStatus.OK, stream.message(turn, number=number, model=name))

    def _record(self, talk: conversation.Conversation, model: str, messages: int, status: int) -> Record:
        key = self.headers.get("x-api-key")
        bearer = self.headers.get("authorization")
        return Record(
            at=time.time(),
            model=model,
            prompt=talk.prompt,
            prompts=talk.prompts,
            messages=messages,
            answers=talk.answers,
            tools=len(talk.tools),
            title=talk.wants_title,
            api_key_sha256=secret_hash(key) if key else None,
            authorization_sha256=secret_hash(bearer.removeprefix("Bearer ")) if bearer else None,
            status=status,
        )

    def _stream(self, turn: Turn, number: int, model: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("cache-control", "no-cache")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("request-id", f"req_{number:08d}")
        self.end_headers()
        for chunk in stream.events(turn, number=number, model=model):
            if b'"text_delta"' in chunk:
                self.server.model.pause_between_words()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._answer(status, json.dumps(body).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("request-id", "req_local")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _path(self) -> str:
        return urlsplit(self.path).path

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - base class
        logger.debug("answered", extra={"line": format % args})
