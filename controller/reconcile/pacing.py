"""How many instances may be starting at the same time; the others wait their turn, first come, first served.

A start costs a core for a second or two, so more at once end later, all of them. What is kept here is lost with the
process and made again by the next passes: it only ever delays a start.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

TURN_SECONDS = 180.0
"""A start that has not come up by then has lost its turn; the pass that restarts it gets another one."""


def default_turns() -> int:
    """Return two starts for each core this process may use."""
    return 2 * len(os.sched_getaffinity(0))


class StartTurns:
    """Thread-safe.

    Args:
        limit: instances that may be starting at the same time.
        wake: called with the name of an instance whose turn has come.
        clock: monotonic seconds.
    """

    def __init__(self, limit: int, wake: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._wake = wake
        self._clock = clock
        self._guard = threading.Lock()
        self._starting: dict[str, float] = {}
        self._waiting: dict[str, None] = {}

    def queue(self, name: str) -> str | None:
        """Say why the instance has to wait, ``None`` when it need not; changes nothing."""
        with self._guard:
            return self._queue(name)

    def take(self, name: str) -> bool:
        """Begin a start if there is a turn for it; otherwise the instance stands in line and is woken for it."""
        with self._guard:
            if self._queue(name) is not None:
                self._waiting.setdefault(name)
                return False
            self._waiting.pop(name, None)
            self._starting[name] = self._clock() + TURN_SECONDS
            return True

    def stand_in_line(self, name: str) -> None:
        """Wait for a turn; :meth:`end` wakes whose turn it is."""
        with self._guard:
            self._waiting.setdefault(name)

    def leave(self, name: str) -> None:
        """Give the place in the line to those behind; a start that was begun keeps its turn. Idempotent."""
        with self._guard:
            self._waiting.pop(name, None)
        self._wake_next()

    def end(self, name: str) -> None:
        """Give the turn back, or the place in the line; idempotent."""
        with self._guard:
            self._waiting.pop(name, None)
            self._starting.pop(name, None)
        self._wake_next()

    def _wake_next(self) -> None:
        with self._guard:
            room = self.limit - len(self._alive())
            next_ones = list(self._waiting)[: max(room, 0)]
        for each in next_ones:
            self._wake(each)

    def _alive(self) -> dict[str, float]:
        now = self._clock()
        for name in [name for name, end in self._starting.items() if end <= now]:
            del self._starting[name]
        return self._starting

    def _queue(self, name: str) -> str | None:
        starting = self._alive()
        if name in starting:
            return None
        before = list(self._waiting)
        place = before.index(name) if name in before else len(before)
        if len(starting) + place < self.limit:
            return None
        return f"{len(starting)} instances are starting and {place} wait before it; {self.limit} start at a time"
