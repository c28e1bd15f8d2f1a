"""Where hooks arrive: a unix socket on tmpfs that only this user can open.

Each connection carries one JSON object and is answered by one byte once the object was dealt with, in order. The
other ends are `hook`, which Claude runs, and `editor`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

READ_TIMEOUT = 2.0
DEAL_TIMEOUT = 1.0
LARGEST = 64 * 1024 * 1024
"""Bytes; a hook about a tool carries the tool's whole input and output."""


class EventSocket:
    """Listens for events and hands each to `deal`; the other end goes on once `deal` is done, or took too long."""

    def __init__(self, path: Path, deal: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._path = path
        self._deal = deal
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; a socket file left by an earlier container is replaced.

        Raises:
            OSError: the folder cannot be written, or the path is too long for a socket.
        """
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening; idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                data = await _read_all(reader)
            event = json.loads(data)
            if isinstance(event, dict):
                async with asyncio.timeout(DEAL_TIMEOUT):
                    await self._deal(event)
        except (OSError, ValueError, TimeoutError, RecursionError) as error:
            logger.warning("event was dropped", extra={"cco_error": str(error) or type(error).__name__})
        finally:
            with contextlib.suppress(OSError):
                writer.write(b"\n")
                writer.close()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await reader.read(1 << 20):
        size += len(part)
        if size > LARGEST:
            raise ValueError(f"an event is larger than {LARGEST} bytes")
        parts.append(part)
    return b"".join(parts)
