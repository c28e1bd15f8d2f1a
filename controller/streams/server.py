"""HTTP on the controller's socket, one thread per request; who answers is in :mod:`~controller.streams.routes`."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from controller.errors import CcoError, NotFound, Terminal, Unavailable

from .routes import NotUnderstood, Route, Routes, StreamRequest

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT = 30.0
POLL_SECONDS = 0.2
MAX_BODY = 1024**2
FULL_SECONDS = 0.5
"""How long nobody is let in when no file can be opened."""


class StreamServer:
    """Serves routes on a unix socket, one thread per request.

    Args:
        path: of the socket; a stale one is replaced, which the controller's lock makes safe.
        fence: called before everything that acts; raises when another controller has taken over.
    """

    def __init__(self, path: Path, routes: Sequence[Route], fence: Callable[[], None] = lambda: None) -> None:
        self._path, self._fence, self._told = path, fence, False
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

        class Handler(_Handler):
            pass

        Handler.fence = staticmethod(fence)
        Handler.routes = Routes([Route("GET", "/health", lambda _: {"status": "ok"}), *routes])
        self._server = _UnixServer(str(path), Handler)
        self._server.between = self._come_back
        self._inode = self._own()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="streams", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and remove the socket, unless another controller has put its own in that place."""
        if self._thread.is_alive():
            with contextlib.suppress(OSError):
                self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes it up: it looks POLL_SECONDS apart otherwise
            self._server.shutdown()
            self._thread.join(5.0)
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:  # nobody else's while ours is open
                self._path.unlink()
        self._server.server_close()

    def _own(self) -> int:
        """Close the socket's file to others, and return its inode."""
        self._path.chmod(0o600)
        if os.geteuid() == 0:  # the server runs as the state directory's owner
            owner = self._path.parent.stat()
            os.chown(self._path, owner.st_uid, owner.st_gid)
        return self._path.stat().st_ino

    def _come_back(self) -> None:
        """Listen again where the file was removed: nobody finds a socket without one. Another one's file is left."""
        try:
            if os.path.lexists(self._path):
                return
            self._fence()
            with socket.socket(socket.AF_UNIX) as fresh:
                fresh.bind(str(self._path))
                fresh.listen(self._server.request_queue_size)
                self._inode = self._own()
                # In the place of the old one, under the number that is polled.
                os.dup2(fresh.fileno(), self._server.fileno(), inheritable=False)
        except (OSError, CcoError) as error:
            if not self._told:
                logger.warning("socket could not be made again", extra={"cco_error": str(error)})
            self._told = True
        else:
            logger.warning("socket was made again", extra={"cco_path": str(self._path)})
            self._told = False


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    between: Callable[[], None] = staticmethod(lambda: None)

    def service_actions(self) -> None:
        """Look around, several times a second; the base class calls this between two requests."""
        self.between()

    def get_request(self) -> tuple[socket.socket, str]:
        """Give the handler an address it can print; a unix peer has none."""
        try:
            connection, _ = super().get_request()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                # Whoever knocks stays in the line and would be announced again at once, over and over.
                threading.Event().wait(FULL_SECONDS)
            raise
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
    routes: Routes
    fence: Callable[[], None]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer what only looks."""
        self._answer()

    def do_POST(self) -> None:
        """Answer what acts."""
        self._answer()

    def _answer(self) -> None:
        """Answer, turning every known error into a problem document."""
        try:
            url = urlsplit(self.path)
            body = self._read()
            handler, values = self.routes.find(self.command, url.path)
            if self.command != "GET":
                self.fence()
            query = {key: found[0] for key, found in parse_qs(url.query).items()}
            self._reply(handler(StreamRequest(values, query, body)))
        except NotUnderstood as error:
            self._problem(error.status, error)
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

    def _read(self) -> Mapping[str, Any]:
        """Return the object that was sent; it is read to its end, or the next request would begin inside it."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True
            message = f"the body is longer than {MAX_BODY} bytes, or does not say how long it is"
            raise NotUnderstood(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
        text = self.rfile.read(int(length))
        try:
            body = json.loads(text or b"{}")
        except ValueError as error:
            raise NotUnderstood(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise NotUnderstood(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
        return body

    def _reply(self, answer: object) -> None:
        if isinstance(answer, bytes):
            self._send(HTTPStatus.OK, "text/plain; charset=utf-8", answer)
        else:
            self._json(HTTPStatus.OK, answer)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse other methods and what is no HTTP; the base class would answer with a page."""
        del explain
        status = HTTPStatus(code)
        self.close_connection = True
        self._problem(status, NotUnderstood(status, message or status.phrase))

    def _problem(self, status: HTTPStatus, error: CcoError) -> None:
        body = {"type": "about:blank", "title": status.phrase, "status": status.value}
        self._json(status, {**body, "detail": error.message, "reason": error.reason}, "application/problem+json")

    def _json(self, status: HTTPStatus, body: object, type_: str = "application/json") -> None:
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
