"""Whether somebody set the clock: the wall clock, compared with one that only counts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .examination import Finding, notable, well

SET_SECONDS = 2.0


def _counted() -> float:
    """Return seconds since the machine started, time in which it slept among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class ClockWatch:
    """Remembers both clocks as they were when it was made."""

    wall: float = field(default_factory=time.time)
    counted: float = field(default_factory=_counted)

    def examine(self) -> Finding:
        """Judge how far the wall clock has moved by itself; instants in events and backoffs depend on it."""
        elapsed = _counted() - self.counted
        step = time.time() - self.wall - elapsed
        since = f"since the controller started {elapsed:.0f} s ago"
        if abs(step) > SET_SECONDS:
            way = "forward" if step > 0 else "back"
            return notable(
                f"the clock was set {way} by {abs(step):.0f} s {since}: ages and waiting times that span it are off by "
                "as much; let NTP keep it"
            )
        return well(f"nobody has set the clock {since}")
