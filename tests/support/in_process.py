"""A synchronous way into an ASGI application, for clients that think they speak HTTP; streams need a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.types import ASGIApp

Result = TypeVar("Result")


class InProcess(httpx.BaseTransport):
    """A context manager, also entered and left by the client it is given to; entering and leaving twice is fine."""

    def __init__(self, app: ASGIApp) -> None:
        self._inner = httpx.ASGITransport(app)
        self._starting = start_blocking_portal()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Self:
        if self._portal is None:
            self._starting = start_blocking_portal()
            self._portal = self._starting.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._portal is not None:
            self._portal = None
            self._starting.__exit__(kind, error, trace)

    def call(self, function: Callable[..., Awaitable[Result]], *args: object) -> Result:
        """Run a coroutine where the application runs."""
        assert self._portal is not None, "not entered, or left"
        return self._portal.call(function, *args)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.call(self._send, request)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        copy = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        response = await self._inner.handle_async_request(copy)
        return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())
