"""Usage: the agents' newest numbers into the database, all instances in one transaction per beat.

Usage is not worth a pass: nothing is decided by it, so it goes past the queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from controller.agents import Agents
from controller.beat import Beat
from controller.resources import Usage


class UsageRows(Protocol):
    """The one write usage needs."""

    def record_usage(self, usage: Mapping[str, Usage]) -> object:
        """Write the usage of all given uids in one transaction."""


class UsageRecorder(Beat):
    """Writes what changed since its last beat.

    Args:
        seconds: between two beats; the agents' heartbeat, since nothing is new sooner.
    """

    def __init__(self, links: Agents, rows: UsageRows, seconds: float) -> None:
        super().__init__("usage", seconds, "usage not recorded")
        self._links = links
        self._rows = rows
        self._written: dict[str, Usage] = {}

    def beat(self) -> None:
        """Write what is new."""
        current = {uid: heard.report.usage_status() for uid, heard in self._links.all_heard().items()}
        fresh = {uid: usage for uid, usage in current.items() if self._written.get(uid) != usage}
        if fresh:
            self._rows.record_usage(fresh)
        self._written = current
