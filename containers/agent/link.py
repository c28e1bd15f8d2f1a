"""The connection to the controller: JSON lines over the unix socket in the instance's own folder.

The agent connects, for ever: a controller that restarts finds its agents again within seconds. What comes in goes
to a callback; what goes out is the newest report, so nothing piles up while nobody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

MAX_LINE = 1024 * 1024
"""Bytes of one message."""
RETRY_FIRST = 0.1
RETRY_LAST = 0.5
"""Seconds. A controller is back within two, and its instances should not wait for it any longer than that."""
SEND_TIMEOUT = 5.0
LOOK_SECONDS = 2.0
"""How often the socket's file is compared with the one that was connected to."""


class FrameError(ValueError):
    """A line is not a message; the message says why."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as a line.

    Raises:
        FrameError: it is longer than the other side accepts.
    """
    line = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE:
        raise FrameError(f"a message of {len(line)} bytes is longer than {MAX_LINE}")
    return line


def decode(line: bytes) -> dict[str, Any]:
    """The message in a line.

    Raises:
        FrameError: the line is no JSON object with a type.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise FrameError("not an object with a type")
    return message


class Link:
    """The agent's side of the connection.

    Args:
        path: the controller's socket.
        receive: called on the event loop with each message; must not block.
        connected: called after every connect: everything has to be told again.
    """

    def __init__(self, path: Path, receive: Callable[[dict[str, Any]], None], connected: Callable[[], None]) -> None:
        self._path = path
        self._receive = receive
        self._connected = connected
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a controller listens now."""
        return self._writer is not None

    async def run(self) -> None:
        """Stay connected until cancelled."""
        delay = RETRY_FIRST
        while True:
            stamp = self._stamp()
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=MAX_LINE)
            except OSError:
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_LAST)
                continue
            logger.info("controller was reached")
            watch = asyncio.create_task(self._leave_if_replaced(writer, stamp))
            try:
                if await self._talk(reader, writer):
                    delay = RETRY_FIRST
            finally:
                watch.cancel()
                self._writer = None
                writer.close()
            logger.info("controller was lost")
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_LAST)

    async def send(self, message: Mapping[str, Any]) -> bool:
        """Send a message; returns whether it was handed over to the socket."""
        writer = self._writer
        if writer is None:
            return False
        try:
            writer.write(encode(message))
            await asyncio.wait_for(writer.drain(), SEND_TIMEOUT)
        except FrameError:
            logger.exception("report was too long")
            return False
        except (OSError, TimeoutError):
            writer.transport.abort()
            return False
        return True

    async def _leave_if_replaced(self, writer: asyncio.StreamWriter, connected_to: tuple[int, int] | None) -> None:
        """Break the connection when another controller listens at our place.

        One that is paused neither reads nor closes: nothing on the connection itself would ever tell.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._stamp()
            if now is not None and now != connected_to:
                writer.transport.abort()
                return

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Listen until the connection ends; returns whether anything was said on it."""
        self._writer = writer
        self._connected()
        heard = False
        with contextlib.suppress(OSError):
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    # Longer than a message may be; where the next one begins is not known any more.
                    logger.warning("message was too long")
                    return heard
                if not line:
                    return heard
                heard = True
                try:
                    self._receive(decode(line))
                except FrameError as error:
                    logger.warning("message was dropped", extra={"cco_error": str(error)})
        return heard
