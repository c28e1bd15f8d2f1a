"""Usage: the agents' newest numbers into the database, all instances in one transaction per beat.

Usage is not worth a pass: nothing is decided by it, so it goes past the queue.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Protocol

from controller.agents import Agents
from controller.errors import CcoError
from controller.resources import Usage

logger = logging.getLogger(__name__)


class UsageRows(Protocol):
    """The one write usage needs."""

    def record_usage(self, usage: Mapping[str, Usage]) -> object:
        """Write the usage of all given uids in one transaction."""


class UsageRecorder:
    """A thread that writes what changed since its last beat.

    Args:
        seconds: between two beats; the agents' heartbeat, since nothing is new sooner.
    """

    def __init__(self, links: Agents, rows: UsageRows, seconds: float) -> None:
        self._links = links
        self._rows = rows
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._written: dict[str, Usage] = {}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End and join the thread."""
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.beat()
            except CcoError as error:
                logger.warning("usage not recorded", extra={"cco_reason": error.reason})
            except Exception:  # the thread must outlive a bug, or usage would stand still for ever
                logger.exception("usage not recorded")

    def beat(self) -> None:
        """Write what is new."""
        current = {uid: heard.report.usage_status() for uid, heard in self._links.all_heard().items()}
        fresh = {uid: usage for uid, usage in current.items() if self._written.get(uid) != usage}
        if fresh:
            self._rows.record_usage(fresh)
        self._written = current
