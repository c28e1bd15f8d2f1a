"""Where the writers of one process stand in line.

SQLite lets one writer in at a time, and those who wait for another *program* wait there by sleeping. One writer of a
process does that for all of them. While the other program keeps the database, only a few others may go on waiting:
every one of them occupies a thread, and reading, which needs no turn, must find threads left.
"""

from __future__ import annotations

import threading
import time

MAX_WAITING = 12
"""Writers that may wait while another program has the database."""

PATIENCE_SECONDS = 0.4
"""So long the first one waits before that is what it looks like."""

_LOOK_SECONDS = 0.1


class Line:
    """Enter, then say when the database was obtained, then leave."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._first_waits_since: float | None = None
        self._gave_up_at = 0.0

    def enter(self, seconds: float) -> None:
        """Wait for one's turn, for at most so many seconds.

        Raises:
            TimeoutError: it did not come; or another program has the database, and too many wait for it already or
                the one that waited in front of us has just given up.
        """
        if self._turn.acquire(blocking=False):
            self._first_waits_since = time.monotonic()
            return
        entered = time.monotonic()
        with self._counting:
            self._waiting += 1
        try:
            while True:
                if time.monotonic() - entered > seconds or self._is_too_long():
                    raise TimeoutError
                if self._turn.acquire(timeout=min(_LOOK_SECONDS, seconds)):
                    break
        finally:
            with self._counting:
                self._waiting -= 1
        if self._gave_up_at > entered + PATIENCE_SECONDS:
            self._turn.release()
            raise TimeoutError
        self._first_waits_since = time.monotonic()

    def obtained(self) -> None:
        """Say that no other program stands in the way."""
        self._first_waits_since = None

    def leave(self) -> None:
        """Let the next one go; whoever leaves without having obtained the database gave up."""
        if self._first_waits_since is not None:
            self._gave_up_at, self._first_waits_since = time.monotonic(), None
        self._turn.release()

    def _is_too_long(self) -> bool:
        since = self._first_waits_since
        return since is not None and time.monotonic() - since > PATIENCE_SECONDS and self._waiting > MAX_WAITING
