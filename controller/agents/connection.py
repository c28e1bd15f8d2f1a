"""One agent's connection: whole lines in, messages out, all on the event loop of ``link``.

A protocol, not a pair of streams: no task has to be woken for each of the many reports. Who says more than an agent
has to say is not read until the next second: it waits, and nobody else does.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from .allowance import Allowance
from .report import MAX_LINE

PIECES_PER_SECOND = 200
"""Lines and reads together; an agent has at most 50 reports to send in a second."""
BYTES_PER_SECOND = MAX_LINE
"""As much as the longest line; a report has one or two thousand."""


class Share:
    """What may be said in a second at one instance's socket, over however many connections."""

    def __init__(self) -> None:
        self.pieces = Allowance(PIECES_PER_SECOND)
        self.size = Allowance(BYTES_PER_SECOND)

    def wait(self, now: float) -> float:
        """Return the seconds until more may be said."""
        return max(self.pieces.wait(now), self.size.wait(now))


class Talk(Protocol):
    """What is done about a connection; every verb is called on the event loop."""

    def begin(self, connection: Connection) -> None:
        """The agent has connected."""

    def hear(self, connection: Connection, line: bytes) -> bool:
        """The agent has said something; returns whether it was fit to be said."""

    def complain(self, what: str, **about: object) -> None:
        """Log what is wrong with what the agent says, but not as often as it says it."""

    def end(self, connection: Connection) -> None:
        """The connection is gone; nothing more is heard from it."""


class Connection(asyncio.Protocol):
    """Belongs to the event loop.

    Args:
        talk: what is done about it.
        share: what may be said.
    """

    def __init__(self, talk: Talk, share: Share) -> None:
        self._talk = talk
        self._share = share
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._said = bytearray()
        self._searched = 0
        self._paused: asyncio.TimerHandle | None = None
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
        now = self._loop.time()
        self._share.pieces.take(now)
        self._share.size.take(now, len(data))
        self._said += data
        self._go_on()

    def _go_on(self) -> None:
        """Pass on the lines that are there, as many as may be; then read on, now or when more may be said."""
        paused, self._paused = self._paused, None
        now = self._loop.time()
        while (end := self._said.find(b"\n", self._searched)) >= 0:
            if end >= MAX_LINE:
                break
            if not self._share.pieces.take(now):
                self._pause(now)
                return
            line = bytes(self._said[:end])
            del self._said[: end + 1]
            self._searched = 0
            if not self._talk.hear(self, line):
                self._share.pieces.exhaust()
        self._searched = len(self._said)
        if self._searched >= MAX_LINE:
            self._talk.complain("agent connection dropped", cco_error=f"a line of more than {MAX_LINE} bytes")
            self._said.clear()
            self.abort()
        elif self._share.wait(now):
            self._pause(now)
        elif paused and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _pause(self, now: float) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._paused = self._loop.call_later(self._share.wait(now), self._go_on)

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._room.clear()

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        del exc
        if self._paused is not None:
            self._paused.cancel()
        self._said.clear()
        self._room.set()  # nobody waits for one that is gone
        self._talk.end(self)
