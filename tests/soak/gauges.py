"""What a process costs over time: memory, open files and threads, read from ``/proc``, and the trend of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOUR = 3600.0
MEBIBYTE = 1024**2


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one process; ``at`` in seconds since the soak began, ``rss`` in MiB."""

    at: float
    pid: int
    rss: float
    fds: int
    threads: int


def sample(pid: int, at: float) -> Sample:
    """Look at a process."""
    place = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (place / "status").read_text(encoding="ascii").splitlines())
    rss = int(status["VmRSS"].split()[0]) / 1024
    return Sample(at, pid, rss, len(list((place / "fd").iterdir())), int(status["Threads"]))


@dataclass(slots=True)
class Gauge:
    """All samples of one of our programs; a restart of it is another process and begins another series."""

    samples: list[Sample] = field(default_factory=list)

    def longest(self) -> list[Sample]:
        """Return the samples of the process that lived longest, without its first quarter: it warms up."""
        lives: dict[int, list[Sample]] = {}
        for each in self.samples:
            lives.setdefault(each.pid, []).append(each)
        life = max(lives.values(), key=lambda each: each[-1].at - each[0].at, default=[])
        return life[len(life) // 4 :]

    def summary(self) -> dict[str, float]:
        """Return the trends: MiB and open files in all, at the end and an hour, and the most threads."""
        life = self.longest()
        if len(life) < 2:
            return {}
        return {
            "hours": round((life[-1].at - life[0].at) / HOUR, 3),
            "rss_mib": round(life[-1].rss, 1),
            "rss_growth_mib": round(life[-1].rss - life[0].rss, 1),
            "rss_slope_mib_per_hour": round(slope([(each.at / HOUR, each.rss) for each in life]), 2),
            "fds_slope_per_hour": round(slope([(each.at / HOUR, each.fds) for each in life]), 2),
            "fds_growth": life[-1].fds - life[0].fds,
            "fds": life[-1].fds,
            "threads_most": max(each.threads for each in life),
        }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line nearest to the points (least squares); 0 where there is no line."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
