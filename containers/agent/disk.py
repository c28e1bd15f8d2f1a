"""What the instance occupies on the disk, and how full its file systems are.

Adding up a worktree costs CPU, so it is done rarely: every minute, less often where it takes long, and at once when
the disk lost much space since. How full a file system is costs nothing to ask.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 5.0
MEASURE_SECONDS = 60.0
SHARE = 100
"""Measuring takes at most one part in so many of the time."""
LOST = 512 * 1024**2
"""So much space lost since the last measurement is a reason to measure again."""
_BLOCK = 512
"""Unit of `st_blocks`, whatever the file system's own (stat(2))."""


@dataclass(frozen=True, slots=True)
class Disk:
    """One look; `None` is not known (yet). `disk_*` tell of the fullest file system that can be written to."""

    worktree_bytes: int | None = None
    home_bytes: int | None = None
    disk_total_bytes: int | None = None
    disk_free_bytes: int | None = None


class DiskMeter:
    """Measures in a thread of its own, so that the agent goes on.

    Args:
        worktree: folders that make up the worktree.
        home: HOME.
    """

    def __init__(self, worktree: Sequence[Path], home: Path) -> None:
        self._worktree = tuple(worktree)
        self._home = home
        self._sizes: tuple[int | None, int | None] = (None, None)
        self._free_then = 0
        self._due = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        measuring = threading.Thread()
        while True:
            if not measuring.is_alive() and self._is_due():
                # Not a thread of the event loop's pool: the agent's end would wait for a large tree.
                measuring = threading.Thread(target=self.measure, name="disk", daemon=True)
                measuring.start()
            await asyncio.sleep(LOOK_SECONDS)

    def measure(self) -> None:
        """Add up now."""
        began = time.monotonic()
        self._free_then = self.look().disk_free_bytes or 0
        self._sizes = (occupied(self._worktree), occupied((self._home,)))
        took = time.monotonic() - began
        self._due = began + max(MEASURE_SECONDS, took * SHARE)

    def look(self) -> Disk:
        """Return the last measurement, and how full the file systems are now."""
        spaces = list(_spaces((*self._worktree, self._home)))
        total, free = min(spaces, key=lambda space: space[1] / space[0], default=(None, None))
        return Disk(*self._sizes, disk_total_bytes=total, disk_free_bytes=free)

    def _is_due(self) -> bool:
        free = self.look().disk_free_bytes
        return time.monotonic() >= self._due or (free is not None and self._free_then - free >= LOST)


def occupied(folders: Sequence[Path]) -> int:
    """Add up what the folders occupy; a file with several names counts once, other file systems do not count."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder in folders:
        with suppress(OSError):
            device = folder.stat().st_dev
            total += sum(_sizes(folder, device, seen))
    return total


def _sizes(folder: Path, device: int, seen: set[tuple[int, int]]) -> Iterator[int]:
    pending = [os.fspath(folder)]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_dev != device or (status.st_dev, status.st_ino) in seen:
                        continue
                    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                        seen.add((status.st_dev, status.st_ino))
                    yield status.st_blocks * _BLOCK
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)


def _spaces(folders: Sequence[Path]) -> Iterator[tuple[int, int]]:
    for folder in folders:
        with suppress(OSError):
            space = os.statvfs(folder)
            if space.f_blocks:
                yield space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
