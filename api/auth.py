"""Who may come in: the bearer token, or a session cookie made from it.

A session is a signed text and needs no memory: ``v1.<expiry>.<random>.<signature>``, its key derived from the
token. A new token ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from starlette.requests import cookie_parser

SESSION_SECONDS: Final = 7 * 24 * 3600
FAILURES: Final = 10
FAILURE_WINDOW_SECONDS: Final = 60.0
MAX_ADDRESSES: Final = 1000


class Auth:
    """Checks credentials against one token, in constant time."""

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._token = token.encode()
        self._key = hmac.digest(self._token, b"cc-orchestrator session", "sha256")
        self._clock = clock
        # Browsers share cookies between the ports of a host; two installations must not end each other's sessions.
        self.cookie_name = f"cco_session_{hashlib.sha256(self._key).hexdigest()[:8]}"
        self.failures = Failures()

    def __repr__(self) -> str:
        return "Auth()"

    def token_matches(self, token: str | bytes) -> bool:
        """Tell whether it is the token."""
        given = token.encode(errors="surrogateescape") if isinstance(token, str) else token
        return hmac.compare_digest(given, self._token)

    def bearer_matches(self, header: bytes) -> bool:
        """Tell whether an ``Authorization`` header carries the token."""
        scheme, _, token = header.partition(b" ")
        return scheme.lower() == b"bearer" and self.token_matches(token.strip())

    def new_session(self) -> str:
        """Return the value of a new session cookie."""
        body = f"v1.{int(self._clock()) + SESSION_SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{body}.{self._sign(body)}"

    def session_valid(self, cookies: Iterable[str]) -> bool:
        """Tell whether one of the ``Cookie`` headers carries a session that is ours and not over."""
        return self.session_in(cookies) is not None

    def session_in(self, cookies: Iterable[str]) -> str | None:
        """Return the session in the ``Cookie`` headers that is ours and not over, if there is one."""
        values = (cookie_parser(cookie).get(self.cookie_name, "") for cookie in cookies)
        return next((value for value in values if self._session_valid(value)), None)

    def cookie(self, *, secure: bool) -> str:
        """Return the ``Set-Cookie`` header that begins a session."""
        return self._cookie(self.new_session(), SESSION_SECONDS, secure=secure)

    def expired_cookie(self, *, secure: bool) -> str:
        """Return the ``Set-Cookie`` header that ends a session."""
        return self._cookie("", 0, secure=secure)

    def _session_valid(self, value: str) -> bool:
        body, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(body).encode()):
            return False
        _, expiry, _ = body.split(".", 2)
        return self._clock() < int(expiry)

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, body.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _cookie(self, value: str, seconds: int, *, secure: bool) -> str:
        text = f"{self.cookie_name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict"
        return f"{text}; Secure" if secure else text


class Failures:
    """Wrong tokens by address, in a bounded memory. The right token is never refused, so nobody is locked out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, address: str) -> int | None:
        """Remember one; return the seconds to wait when there were too many within a minute."""
        now = self._clock()
        with self._lock:
            started, number = self._seen.pop(address, (now, 0))
            if now - started > FAILURE_WINDOW_SECONDS:
                started, number = now, 0
            self._seen[address] = (started, number + 1)
            while len(self._seen) > MAX_ADDRESSES:
                self._seen.popitem(last=False)
        return None if number < FAILURES else max(1, round(started + FAILURE_WINDOW_SECONDS - now))
