"""The client's way over the network: headers, bounded repetition, errors as sentences."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx
from pydantic import ValidationError

from .advice import SERVER_LOG, START
from .destination import check_token
from .wire import FieldError, Problem

ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 0.1
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class ClientError(Exception):
    """Base of what the client raises."""


class ApiError(ClientError):
    """The server refused a request.

    Attributes:
        status: HTTP status.
        reason: stable CamelCase word for machines.
        detail: a sentence for people; also ``str()`` of the error.
        fields: what is wrong with which field, if that is the problem.
    """

    def __init__(self, status: int, reason: str, detail: str, fields: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.fields = fields


class ServerUnavailable(ClientError):
    """No server answered; ``str()`` says which one was tried and what to do."""


class Transport:
    """Sends requests of one client."""

    def __init__(self, base_url: str, token: str | None, transport: httpx.BaseTransport | None, timeout: float) -> None:
        self.base_url = base_url.rstrip("/")
        self._has_token = token is not None
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {check_token(token)}"
        try:
            url = _address(self.base_url)
            self._http = httpx.Client(
                base_url=url,
                headers=headers,
                transport=transport,
                timeout=timeout,
                follow_redirects=False,
                verify=url.scheme != "http",  # loading certificates nobody will look at takes longer than a request
                trust_env=url.host not in _LOOPBACK,  # a proxy cannot reach this machine for us
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise ServerUnavailable(f"{base_url!r} is not the address of a server: {error}") from None

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float | None = None,
    ) -> dict[str, Any]:
        """Send a request and return the JSON object of the answer, for which it waits ``patience`` seconds at most.

        Repeats it when the connection breaks and that is safe: reading, deleting, replacing without a version
        precondition, and whatever carries an idempotency key.
        """
        versioned = body is not None and "resource_version" in body.get("metadata", {})
        safe = (
            method in {"GET", "DELETE"} or (method == "PUT" and not versioned) or "Idempotency-Key" in (headers or {})
        )
        response = self._send(
            method, path, params=params, body=body, headers=headers, repeatable=safe, patience=patience
        )
        try:
            answer = response.json()
        except ValueError:
            raise self._not_ours(response) from None
        if not isinstance(answer, dict):
            raise self._not_ours(response)
        return answer

    def text(self, path: str, *, params: Mapping[str, Any] | None = None) -> str:
        """Send a GET and return the answer's text."""
        return self._send("GET", path, params=params, repeatable=True).text

    @contextmanager
    def stream(self, path: str, *, params: Mapping[str, Any], read_timeout: float) -> Iterator[httpx.Response]:
        """Give the answer to a GET while it is still coming; one attempt."""
        timeout = httpx.Timeout(self._http.timeout.connect, read=read_timeout)
        headers = {"Accept": "text/event-stream"}
        with (
            self._speaking(),
            self._http.stream("GET", path, params=_given(params), headers=headers, timeout=timeout) as response,
        ):
            if not response.is_success:
                response.read()
                raise self._refused(response)
            yield response

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool,
        patience: float | None = None,
    ) -> httpx.Response:
        timeout = self._http.timeout if patience is None else httpx.Timeout(self._http.timeout.connect, read=patience)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._speaking():
                    response = self._http.request(
                        method, path, params=_given(params), json=body, headers=headers, timeout=timeout
                    )
                break
            except ServerUnavailable as error:
                never_sent = isinstance(error.__cause__, httpx.ConnectError)
                timed_out = isinstance(error.__cause__, httpx.TimeoutException)
                futile = timed_out or self._http.is_closed
                if attempt == ATTEMPTS or futile or not (repeatable or never_sent):
                    raise
                time.sleep(PAUSE_SECONDS * attempt)
        if not response.is_success:
            raise self._refused(response)
        return response

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise ServerUnavailable(
                f"no cc-orchestrator server answers at {self.base_url} ({_cause(error)}): start it with {START}, or "
                "name another one with --server or CCO_SERVER"
            ) from error
        except httpx.TimeoutException as error:
            raise ServerUnavailable(
                f"the server at {self.base_url} did not answer in time: see its log ({SERVER_LOG})"
            ) from error
        except httpx.HTTPError as error:
            raise ServerUnavailable(f"the connection to {self.base_url} broke ({_cause(error)}): try again") from error
        except RuntimeError as error:
            if not self._http.is_closed:  # httpx has no error of its own for a client that another thread closed
                raise
            raise ServerUnavailable(f"the client of {self.base_url} was closed: open another one") from error

    def _refused(self, response: httpx.Response) -> ApiError:
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            return self._not_ours(response)
        detail = problem.detail
        if problem.reason == "Unauthorized" and not self._has_token:
            detail = f"{detail} (no token was found to send)"
        return ApiError(response.status_code, problem.reason, detail, problem.errors)

    def _not_ours(self, response: httpx.Response) -> ApiError:
        return ApiError(
            response.status_code,
            "NotAnApi",
            f"{self.base_url} answered {response.status_code} without saying why, so it is probably not a "
            "cc-orchestrator server: check --server or CCO_SERVER",
        )


def _address(text: str) -> httpx.URL:
    """Return the URL; raises ``ValueError`` for one that nobody can be reached at over HTTP."""
    url = httpx.URL(text)
    if url.scheme not in {"http", "https"} or not url.host:
        msg = "write http://HOST:PORT"
        raise ValueError(msg)
    return url


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (params or {}).items() if value is not None}


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__
