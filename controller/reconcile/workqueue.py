"""A queue of names in which N hints become one pass, and one name is never worked on twice at once.

The semantics are those of client-go's ``workqueue`` (sets ``dirty`` and ``processing`` beside the queue, delayed
adds, per-item exponential backoff). Sources add, ``loop`` gets.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

BACKOFF_BASE = 0.25
BACKOFF_LIMIT = 60.0


def backoff(failures: int, jitter: float) -> float:
    """Return the delay in seconds after that many failures in a row.

    Args:
        failures: 0 for the first failure.
        jitter: 0 to 1; spreads equal failures over the second half of the delay.
    """
    full = min(BACKOFF_BASE * 2.0 ** min(failures, 30), BACKOFF_LIMIT)
    return full * (0.5 + 0.5 * jitter)


class Workqueue(Generic[Key]):
    """Thread-safe; every method may be called from any thread.

    Args:
        clock: monotonic seconds.
        jitter: returns a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._changed = threading.Condition()
        self._queue: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._processing: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._timers: list[tuple[float, int, Key]] = []
        self._tie_breaker = 0
        self._shut_down = False

    def add(self, key: Key) -> None:
        """Ask for a pass; a key that is being worked on is queued again when that pass ends."""
        with self._changed:
            self._add(key)

    def _add(self, key: Key) -> None:
        if self._shut_down or key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._queue.append(key)
            self._changed.notify()

    def add_after(self, key: Key, delay: float) -> None:
        """Ask for a pass in ``delay`` seconds; of several such wishes for one key the earliest counts."""
        with self._changed:
            if self._shut_down:
                return
            if delay <= 0:
                self._add(key)
                return
            due = self._clock() + delay
            known = self._due.get(key)
            if known is not None and known <= due:
                return
            self._due[key] = due
            self._tie_breaker += 1
            heapq.heappush(self._timers, (due, self._tie_breaker, key))
            self._changed.notify()

    def add_rate_limited(self, key: Key, at_least: float = 0.0) -> float:
        """Ask for another pass after a failure; returns the delay in seconds, doubling until :meth:`forget`.

        It is ``at_least`` so many, for whoever knows that nothing will be different any sooner.
        """
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
        delay = max(backoff(failures, self._jitter()), at_least)
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Start the key's backoff anew; a pass went well."""
        with self._changed:
            self._failures.pop(key, None)

    def get(self, timeout: float | None = None) -> Key | None:
        """Take the next key and mark it as being worked on; ``done`` must follow.

        Returns:
            ``None`` when the queue is shut down, or when ``timeout`` seconds passed without work.
        """
        deadline = None if timeout is None else self._clock() + timeout
        with self._changed:
            while True:
                self._release_due()
                if self._queue:
                    key = self._queue.popleft()
                    self._dirty.discard(key)
                    self._processing.add(key)
                    return key
                wait = self._next_wait(deadline)
                if self._shut_down or (wait is not None and wait <= 0):
                    return None
                self._changed.wait(wait)

    def done(self, key: Key) -> None:
        """End the work on a key; if it was added meanwhile, it is queued now."""
        with self._changed:
            self._processing.discard(key)
            if key in self._dirty:
                self._queue.append(key)
                self._changed.notify()

    def shut_down(self) -> None:
        """Wake every waiting ``get`` with ``None`` and ignore what is added from now on."""
        with self._changed:
            self._shut_down = True
            self._queue.clear()
            self._dirty.clear()  # or ``done`` would hand out what was added during the pass
            self._timers.clear()
            self._due.clear()
            self._changed.notify_all()

    def __len__(self) -> int:
        """Keys that wait for a worker now, without the delayed ones."""
        with self._changed:
            self._release_due()
            return len(self._queue)

    def _release_due(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key)

    def _next_wait(self, deadline: float | None) -> float | None:
        """Seconds until something can happen without a call; ``None`` for never, ``<= 0`` when time is up."""
        now = self._clock()
        left = None if deadline is None else deadline - now
        if left is not None and left <= 0:
            return left
        if not self._timers:
            return left
        until_timer = max(self._timers[0][0] - now, 0.0001)
        return until_timer if left is None else min(until_timer, left)
