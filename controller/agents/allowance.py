"""How much of something there may be at a time, where somebody we do not trust decides how much there is."""

from __future__ import annotations


class Allowance:
    """So much in any stretch of time, the first of which begins with the first that is taken. Not thread-safe.

    Args:
        most: that may be taken in a stretch.
        seconds: a stretch's length.
    """

    def __init__(self, most: int, seconds: float = 1.0) -> None:
        self._most = most
        self._seconds = seconds
        self._left = most
        self._ends = 0.0

    def take(self, now: float, amount: int = 1) -> bool:
        """Take so much; returns whether there was anything left: whoever comes last may take more than that."""
        if now >= self._ends:
            self._left = self._most
            self._ends = now + self._seconds
        if self._left <= 0:
            return False
        self._left -= amount
        return True

    def exhaust(self) -> None:
        """Leave nothing for the rest of the stretch."""
        self._left = 0

    def wait(self, now: float) -> float:
        """Return the seconds until something may be taken; 0 when it may be now."""
        return 0.0 if self._left > 0 else max(self._ends - now, 0.0)
