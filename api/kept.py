"""Answers that are kept until something changes: most requests ask for what was asked a moment ago.

Between the gate and the application. An answer to a GET of objects is kept if the database's stamp is the same before
and after it was made; while that stamp lasts, it is what the application would answer again, and with it all answers
are forgotten. So nothing old is ever given out, nobody has to say what a write makes invalid, and a request that finds
its answer here costs neither a thread nor a look into the database's tables.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.errors import CcoError
from controller.store import Store

MAX_BYTES: Final = 16 * 1024**2
"""All that is kept, together."""

MAX_ANSWER: Final = 4 * 1024**2

COLLECTIONS: Final = ("/api/instances", "/api/repositories")


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer."""

    start: Message
    body: bytes


class KeptAnswers:
    """ASGI middleware; for one event loop.

    Args:
        app: what answers otherwise.
        store: what it answers from.
    """

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store
        self._kept: OrderedDict[tuple[str, bytes], Kept] = OrderedDict()
        self._bytes = 0
        self._stamp: int | None = None

    def __len__(self) -> int:
        return len(self._kept)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what is kept, or let it be answered and keep that."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _is_of_objects(scope["path"]):
            await self._app(scope, receive, send)
            return
        stamp = self._now()
        key = (scope["path"], scope["query_string"])
        if (found := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            await send({**found.start, "headers": list(found.start["headers"])})  # those outside add some of theirs
            await send({"type": "http.response.body", "body": found.body})
            return
        answer = _Answer(send)
        await self._app(scope, receive, answer.send)
        is_of_now = stamp is not None and stamp == self._now()
        if is_of_now and (start := answer.start) is not None and answer.is_whole:
            self._keep(key, Kept(start, bytes(answer.body)))

    def _now(self) -> int | None:
        """Return the database's stamp, ``None`` where it has none to tell; forget answers of any other one."""
        try:
            stamp = self._store.stamp()
        except CcoError:  # the application will meet it, and has words for it
            stamp = None
        if stamp is None or stamp != self._stamp:
            self._kept.clear()
            self._bytes = 0
        self._stamp = stamp
        return stamp

    def _keep(self, key: tuple[str, bytes], answer: Kept) -> None:
        if (before := self._kept.pop(key, None)) is not None:
            self._bytes -= len(before.body)
        self._kept[key] = answer
        self._bytes += len(answer.body)
        while self._bytes > MAX_BYTES or len(self._kept) > MAX_BYTES // 1024:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body)


def _is_of_objects(path: str) -> bool:
    """Tell whether the path is that of a collection or of one object in it: their answers come from the store alone."""
    if path in COLLECTIONS:
        return True
    folder, _, name = path.rpartition("/")
    return folder in COLLECTIONS and bool(name)


class _Answer:
    """An answer on its way out, remembered if it is a good one of a sensible size."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.start: Message | None = None
        self.body = bytearray()
        self.is_whole = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            self.start = {**message, "headers": list(message["headers"])}
        elif message["type"] == "http.response.body" and self.start is not None:
            self.body += message.get("body", b"")
            if len(self.body) > MAX_ANSWER:
                self.start = None
            self.is_whole = not message.get("more_body", False)
        await self._send(message)
