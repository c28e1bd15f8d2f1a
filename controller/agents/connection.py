"""One agent's connection: whole lines in, messages out, all on the event loop of ``link``.

A protocol, not a pair of streams: no task has to be woken for each of the many reports.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

from .report import MAX_LINE

logger = logging.getLogger(__name__)


class Talk(Protocol):
    """What is done about a connection; every verb is called on the event loop."""

    def begin(self, connection: Connection) -> None:
        """The agent has connected."""

    def hear(self, connection: Connection, line: bytes) -> None:
        """The agent has said something."""

    def end(self, connection: Connection) -> None:
        """The connection is gone; nothing more is heard from it."""


class Connection(asyncio.Protocol):
    """Belongs to the event loop.

    Args:
        name: of the instance, for the log.
        talk: what is done about it.
    """

    def __init__(self, name: str, talk: Talk) -> None:
        self._name = name
        self._talk = talk
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._room = asyncio.Event()
        self._room.set()

    @property
    def has_room(self) -> bool:
        """Whether the agent has read most of what was sent."""
        return self._room.is_set()

    def send(self, line: bytes) -> bool:
        """Hand a line over; returns whether there was a connection to hand it to."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(line)
        return True

    async def until_read(self, seconds: float) -> bool:
        """Wait until there is room again; one that does not read for so long is cut off."""
        try:
            await asyncio.wait_for(self._room.wait(), seconds)
        except TimeoutError:
            self.abort()
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        """Cut it off, whatever is still on the way."""
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # of a stream socket
        self._talk.begin(self)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (*lines, self._rest))) < MAX_LINE:
            for line in lines:
                self._talk.hear(self, line)
            return
        extra = {"cco_instance": self._name, "cco_error": f"a line of more than {MAX_LINE} bytes"}
        logger.warning("agent connection dropped", extra=extra)
        self._rest = b""
        self.abort()

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._room.clear()

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        del exc
        self._room.set()  # nobody waits for one that is gone
        self._talk.end(self)
