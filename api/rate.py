"""How often one caller may ask: a bucket of tokens each, in a bounded memory.

A caller that stays below the rate never notices; above it, the excess is told when to come back, and the others do
not wait for it. :mod:`~api.gate` decides who a caller is.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

BURST_SECONDS: Final = 2.0
"""A caller that was quiet may send at once what it could have sent within so long."""

MAX_CALLERS: Final = 1000


class RateLimit:
    """One bucket per caller; not for more than one thread.

    Args:
        per_second: requests a second each caller may go on sending; ``0`` = no limit.
        clock: monotonic seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: str) -> float | None:
        """Count one request; return the seconds to wait if it is one too many."""
        if self._rate <= 0:
            return None
        now = self._clock()
        left, then = self._buckets.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        allowed = left >= 1.0
        self._buckets[caller] = (left - 1.0 if allowed else left, now)
        while len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        return None if allowed else (1.0 - left) / self._rate
