"""``GET /api/watch``: changes as an event stream (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Events: ``change`` (a :class:`~api.wire.WatchEvent`), ``bookmark`` (nothing happened, but resume from this id) and
``resync`` (changes are missing; list again; the stream ends). Comments are heartbeats.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .hub import Frame, Hub, Subscriber
from .wire import EVENT_STREAM

SEND_SECONDS: Final = 30.0
"""How long a client may take to read what is on its way; a silent one is let go."""

CHUNK_BYTES: Final = 64 * 1024
RETRY_MILLISECONDS: Final = 500


class ChangeStream(Response):
    """Sends a subscriber's changes until either side ends it.

    Not a ``StreamingResponse``, because that cannot stop waiting for a client that does not read.
    """

    media_type = EVENT_STREAM

    def __init__(self, hub: Hub, subscriber: Subscriber, past: Sequence[Frame], heartbeat: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._subscriber = subscriber
        self._past = past
        self._heartbeat = heartbeat
        self._told = -1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        del scope
        gone = asyncio.create_task(_gone(receive))
        stream = asyncio.create_task(self._stream(send))
        try:
            await asyncio.wait({gone, stream}, return_when=asyncio.FIRST_COMPLETED)
            if stream.done():
                await stream
        finally:
            self._hub.unsubscribe(self._subscriber)
            for task in (gone, stream):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await task

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            await self._send(send, f"retry: {RETRY_MILLISECONDS}\n\n".encode())
            await self._send_frames(send, self._past)
            self._past = ()
            await self._bookmark(send)
            while not self._subscriber.is_over():
                frames = await self._subscriber.next(self._heartbeat)
                if frames:
                    await self._send_frames(send, frames)
                elif not self._subscriber.is_over():
                    await self._send(send, b": heartbeat\n\n")
                    await self._bookmark(send)
            if self._subscriber.lost:
                await self._send(send, b'event: resync\ndata: {"reason":"RevisionGone"}\n\n')
        except TimeoutError:
            return  # returning without the end of the body makes the server drop the connection
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _bookmark(self, send: Send) -> None:
        position = self._subscriber.position
        if position > self._told and self._subscriber.caught_up:
            await self._send(
                send, f'event: bookmark\nid: {position}\ndata: {{"resource_version":{position}}}\n\n'.encode()
            )
            self._told = position

    async def _send_frames(self, send: Send, frames: Sequence[Frame]) -> None:
        chunk = bytearray()
        for frame in frames:
            chunk += frame.text
            if len(chunk) >= CHUNK_BYTES:
                await self._send(send, bytes(chunk))
                chunk.clear()
        if chunk:
            await self._send(send, bytes(chunk))

    async def _send(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": data, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
