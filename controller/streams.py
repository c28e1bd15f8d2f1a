"""What the API cannot read from the store: a plan, logs, the command to attach. HTTP on the controller's own socket.

The API forwards to this socket after checking its caller (as the Kubernetes API does to a kubelet). The socket lies
in the state directory, which only its owner can enter, so there is no second authentication here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from .errors import CcoError, NotFound, Terminal, Unavailable
from .reconcile.actions import Plan
from .resources import Instance
from .runtime.protocol import Runtime

logger = logging.getLogger(__name__)

MAX_TAIL = 10_000
DEFAULT_TAIL = 200
REQUEST_TIMEOUT = 30.0
POLL_SECONDS = 0.2
_NUMBER = re.compile(r"[0-9]{1,9}")
_ROUTE = re.compile(r"/instances/([a-z0-9-]{1,40})/(plan|logs|attach)")


@dataclass(frozen=True, slots=True)
class Streams:
    """Answers one request each.

    Attributes:
        get: returns an instance by name; raises NotFound.
        preview: works out, without acting, what the next pass would do.
    """

    get: Callable[[str], Instance]
    preview: Callable[[Instance], Plan]
    runtime: Runtime

    def plan(self, name: str) -> dict[str, object]:
        """Return what the next pass would do."""
        plan = self.preview(self.get(name))
        return {
            "actions": [{"action": type(a).__name__, "reason": a.reason} for a in plan.actions],
            "blocked": None if plan.blocked is None else asdict(plan.blocked),
            "requeue_after": plan.requeue_after,
        }

    def logs(self, name: str, tail: int) -> bytes:
        """Return the last lines the container printed."""
        return self.runtime.logs(self.get(name).metadata.uid, tail=max(1, min(tail, MAX_TAIL)))

    def attach(self, name: str, *, read_only: bool) -> dict[str, object]:
        """Return the command a person runs on this machine to attach to the tmux session."""
        instance = self.get(name)
        if instance.status.session is None:
            message = f"instance {name!r} has no session to attach to; see 'cco why {name}'"
            raise Terminal("NotRunning", message)
        session = f"cc-orchestrator-{name}"
        command = ["tmux", "-u", "attach-session", *(["-r"] if read_only else []), "-t", f"={session}"]
        return {"argv": list(self.runtime.attach_argv(instance.metadata.uid, command))}


class StreamServer:
    """Serves :class:`Streams` on a unix socket, one thread per request.

    Args:
        path: of the socket; a stale one is replaced, which the controller's lock makes safe.
    """

    def __init__(self, path: Path, streams: Streams) -> None:
        self._path = path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

        class Handler(_Handler):
            pass

        Handler.streams = streams
        self._server = _UnixServer(str(path), Handler)
        path.chmod(0o600)
        if os.geteuid() == 0:  # the server runs as the state directory's owner
            owner = path.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="streams", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and remove the socket."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(5.0)
        self._server.server_close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def get_request(self) -> tuple[socket.socket, str]:
        """Give the handler an address it can print; a unix peer has none."""
        connection, _ = super().get_request()
        connection.settimeout(REQUEST_TIMEOUT)
        return connection, "unix"

    def handle_error(self, request: object, client_address: object) -> None:
        """Tell the log, not stderr, about a connection that ended in the middle."""
        del request, client_address
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError):
            logger.debug("stream connection broke")
        else:
            logger.error("stream connection failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    streams: Streams
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, turning every known error into a problem document."""
        try:
            self._route()
        except NotFound as error:
            self._problem(HTTPStatus.NOT_FOUND, error)
        except Unavailable as error:
            self._problem(HTTPStatus.SERVICE_UNAVAILABLE, error)
        except CcoError as error:
            self._problem(HTTPStatus.CONFLICT, error)
        except ConnectionError:  # whoever asked has gone, so there is nobody to tell
            raise
        except Exception:
            logger.exception("stream request failed", extra={"cco_path": self.path})
            failure = Terminal("InternalError", "the controller could not answer; its log says why")
            self._problem(HTTPStatus.INTERNAL_SERVER_ERROR, failure)

    def _route(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/health":
            self._json(HTTPStatus.OK, {"status": "ok"})
            return
        match = _ROUTE.fullmatch(url.path)
        if match is None:
            raise NotFound("NotFound", f"no such path: {url.path}")
        name, what = match.groups()
        if what == "plan":
            self._json(HTTPStatus.OK, self.streams.plan(name))
        elif what == "attach":
            self._json(HTTPStatus.OK, self.streams.attach(name, read_only=query.get("read_only") in (["1"], ["true"])))
        else:
            tail = query.get("tail", [""])[0]
            lines = int(tail) if _NUMBER.fullmatch(tail) else DEFAULT_TAIL
            self._send(HTTPStatus.OK, "text/plain; charset=utf-8", self.streams.logs(name, lines))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is not a GET request; the base class would answer with a page."""
        del explain
        status = HTTPStatus(code)
        self.close_connection = True
        self._problem(status, Terminal(status.name.title().replace("_", ""), message or status.phrase))

    def _problem(self, status: HTTPStatus, error: CcoError) -> None:
        body = {"type": "about:blank", "title": status.phrase, "status": status.value}
        self._json(status, {**body, "detail": error.message, "reason": error.reason}, "application/problem+json")

    def _json(self, status: HTTPStatus, body: dict[str, object], type_: str = "application/json") -> None:
        self._send(status, type_, json.dumps(body).encode())

    def _send(self, status: HTTPStatus, type_: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's own name
        """Log through our logger instead of stderr."""
        logger.debug("stream request: " + format, *args)  # noqa: G003  # the format comes from the base class
