"""When the controller is told: at once when something changed that matters, and as a heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid

from . import report
from .board import Board
from .config import InstanceConfig
from .disk import DiskMeter
from .link import Link
from .usage import UsageMeter

logger = logging.getLogger(__name__)

COALESCE = 0.02
"""Seconds for which changes are collected into one report."""
FLUSH_TIMEOUT = 0.5


class Reporter:
    """Sends the board's state over the link."""

    def __init__(self, config: InstanceConfig, board: Board, link: Link, meter: UsageMeter, disk: DiskMeter) -> None:
        self._config = config
        self._board = board
        self._link = link
        self._meter = meter
        self._disk = disk
        self._boot = uuid.uuid4().hex
        self._seq = 0
        self._told: tuple[object, ...] = ()
        self._due = asyncio.Event()
        board.listen(self._compare)

    def connected(self) -> None:
        """A controller listens that knows nothing."""
        self._due.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.heartbeat_seconds):
                    await self._due.wait()
            await asyncio.sleep(COALESCE)
            await self._send()

    async def flush(self) -> None:
        """Tell the end, if somebody listens."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await self._send()

    def _compare(self) -> None:
        if report.noteworthy(self._board.session, self._board.view) != self._told:
            self._due.set()

    async def _send(self) -> None:
        self._due.clear()
        if not self._link.is_connected:
            return
        self._told = report.noteworthy(self._board.session, self._board.view)
        self._seq += 1
        message = report.build(
            self._config,
            boot=self._boot,
            seq=self._seq,
            now=time.time(),
            session=self._board.session,
            view=self._board.view,
            usage=self._meter.measure(),
            disk=self._disk.look(),
        )
        await self._link.send(message)
