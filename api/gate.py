"""The door: what every request and every websocket has to pass, whoever answers it behind.

In this order: a Host we are known under (a page of a stranger's name that resolves to us is turned away), a method
that is served at all (not TRACE), an Origin of our own for whatever changes something, a body of bounded size, a
token or a session, and not more requests than one caller needs. The answer gets its security headers here, and an
error that nobody foresaw its problem document.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import problems
from .advice import SERVER_LOG
from .auth import Auth
from .rate import RateLimit
from .wire import MAX_BODY_BYTES

logger = logging.getLogger(__name__)

HEALTH: Final = "/api/health"
LOGIN: Final = "/login"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS: Final = SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}
API_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Content-Security-Policy": API_POLICY,
}
"""Set unless the answer has its own (pages bring a policy that lets their scripts in)."""


class Gate:
    """ASGI middleware around the whole application.

    Args:
        allowed_hosts: host names; one without a port is allowed with any (a forwarded port is not ours to know).
        rate: counts the requests of each caller: of the token and of strangers by address, of a browser by session.
        public: paths that need no login; one that ends in ``/`` stands for everything below it.
    """

    def __init__(
        self,
        app: ASGIApp,
        auth: Auth,
        allowed_hosts: Collection[str],
        rate: RateLimit,
        public: Collection[str] = (),
    ) -> None:
        self._app = app
        self._auth = auth
        self._rate = rate
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._exact = frozenset({HEALTH, *(path for path in public if not path.endswith("/"))})
        self._below = tuple(path for path in public if path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or answer it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._check(scope, Headers(scope=scope))
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send, refusal)
        elif refusal is not None:
            await refusal(scope, receive, _Answer(scope, send).send)
        else:
            await self._serve(scope, _limited(receive), _Answer(scope, send))

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            logger.exception("request failed", extra={"cco_path": scope["path"], "cco_method": scope["method"]})
            if answer.started:
                raise
            detail = f"the server failed to answer this request; its log says why ({SERVER_LOG})"
            response = problems.respond(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", detail)
            await response(scope, receive, answer.send)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send, refusal: Response | None) -> None:
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": HTTPStatus(refusal.status_code).phrase})

    def _check(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "").lower()
        method = scope.get("method", "GET")
        if not self._host_allowed(host):
            names = ", ".join(sorted(self._hosts))
            return problems.respond(
                HTTPStatus.BAD_REQUEST,
                "HostNotAllowed",
                f"this server is not known as {host[:100]!r}, only as {names}: add the name to CCO_ALLOWED_HOSTS where "
                "the server is started",
            )
        if method not in METHODS:
            allow = ", ".join(sorted(METHODS))
            detail = f"{method[:20]!r} is not served here, only {allow}"
            return problems.respond(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", detail, headers={"Allow": allow})
        changes = scope["type"] == "websocket" or method not in SAFE_METHODS
        origin = headers.get("origin")
        if changes and origin is not None and origin.lower().partition("://")[2] != host:
            return problems.respond(
                HTTPStatus.FORBIDDEN,
                "OriginNotAllowed",
                f"a page of {origin[:100]!r} may not change anything here, only pages of this server",
            )
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > MAX_BODY_BYTES:
            return _too_large()
        return self._check_login(scope, headers, changes=changes)

    def _host_allowed(self, host: str) -> bool:
        if host in self._hosts:
            return True
        name, colon, port = host.rpartition(":")
        return bool(colon) and port.isdecimal() and name in self._hosts

    def _check_login(self, scope: Scope, headers: Headers, *, changes: bool) -> Response | None:
        path: str = scope["path"]
        address = address_of(scope)
        if path in self._exact or path.startswith(self._below):
            return self._count(f"anybody at {address}")
        bearer = headers.get("authorization")
        if bearer is not None:
            if self._auth.bearer_matches(bearer.encode("latin-1")):
                return self._count(f"token at {address}")
            return self._count(f"anybody at {address}") or wrong_token(self._auth, scope)
        session = self._auth.session_in(headers.getlist("cookie"))
        if session is not None:
            if changes and headers.get("origin") is None:
                # Browsers always send it here; a session is theirs, everybody else has the token.
                return problems.respond(
                    HTTPStatus.FORBIDDEN,
                    "OriginNotAllowed",
                    "a session may change things only from a page of this server",
                )
            return self._count(f"session {hashlib.sha256(session.encode()).hexdigest()}")
        return self._count(f"anybody at {address}") or self._ask_to_sign_in(scope, headers)

    def _count(self, caller: str) -> Response | None:
        wait = self._rate.take(caller)
        if wait is None:
            return None
        seconds = max(1, math.ceil(wait))
        return problems.respond(
            HTTPStatus.TOO_MANY_REQUESTS,
            "TooManyRequests",
            f"these are more requests than one caller needs: wait {seconds} s; the setting requests_per_second "
            "(CCO_REQUESTS_PER_SECOND) allows more, 0 any number",
            headers={"Retry-After": str(seconds)},
        )

    def _ask_to_sign_in(self, scope: Scope, headers: Headers) -> Response:
        path: str = scope["path"]
        if scope["type"] == "http" and not path.startswith("/api") and "text/html" in headers.get("accept", ""):
            query = scope.get("query_string", b"").decode("latin-1")
            target = quote(f"{path}?{query}" if query else path, safe="")
            if LOGIN in self._exact:
                return RedirectResponse(f"{LOGIN}?next={target}", HTTPStatus.SEE_OTHER)
        return problems.respond(
            HTTPStatus.UNAUTHORIZED,
            "Unauthorized",
            "this needs the API token: send 'Authorization: Bearer ...' with the content of the file 'token' in the "
            "state directory, or sign in at /login",
            headers={"WWW-Authenticate": "Bearer"},
        )


def wrong_token(auth: Auth, scope: Scope) -> Response:
    """Return 401, or 429 after too many wrong tokens from one address."""
    address = address_of(scope)
    wait = auth.failures.count(address)
    if wait is not None:
        return problems.respond(
            HTTPStatus.TOO_MANY_REQUESTS,
            "TooManyWrongTokens",
            f"too many wrong tokens: wait {wait} s, and take the token from the file 'token' in the state directory",
            headers={"Retry-After": str(wait)},
        )
    logger.warning("wrong token refused", extra={"cco_address": address})
    return problems.respond(
        HTTPStatus.UNAUTHORIZED,
        "Unauthorized",
        "the token is not this server's: the right one is in the file 'token' of its state directory",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def address_of(scope: Scope) -> str:
    """Return where a request comes from: the peer's address, never what a header says."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


class _Answer:
    """An answer on its way out, with the headers it must have."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._no_store = scope["path"].startswith("/api")
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self._no_store:
                headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def _limited(receive: Receive) -> Receive:
    """Count what comes in, for bodies that did not say how long they are."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        return message

    return counted


_TOO_LARGE: Final = f"the body is larger than {MAX_BODY_BYTES // 1024} KiB, which no request needs"


def _too_large() -> Response:
    return problems.respond(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BodyTooLarge", _TOO_LARGE)
