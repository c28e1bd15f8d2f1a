"""Free bytes and inodes of the file systems that hold something of ours."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from controller.resources.quantity import format_bytes
from controller.space import Space

from .examination import Finding, failed, notable, unknown, well

LITTLE_BYTES = 512 * 1024**2
LITTLE_INODES = 0.05
NEARLY_NO_INODES = 0.01
_WHERE = "docker system df"


@dataclass(frozen=True, slots=True)
class Room:
    """What is left on one file system.

    Attributes:
        uses: what of ours lies there.
        path: where we looked.
        inodes: share of inodes that are free; 1 where the file system has no fixed number of them.
    """

    uses: tuple[str, ...]
    path: Path
    space: Space
    inodes: float

    def severity(self, mark: float) -> int:
        """Return 0 for enough, 1 for little, 2 for too little of anything, 3 where the controller starts nothing."""
        if self.space.is_full(mark):
            return 3
        if self.inodes < NEARLY_NO_INODES:
            return 2
        little = self.space.free < LITTLE_BYTES or self.inodes < LITTLE_INODES
        return int(self.space.is_nearly_full(mark) or little)

    def __str__(self) -> str:
        text = f"{', '.join(self.uses)} ({self.path}): {format_bytes(_rounded(self.space.free))} of "
        text += f"{format_bytes(_rounded(self.space.total))} free"
        return text if self.inodes >= LITTLE_INODES else f"{text}, {self.inodes:.1%} of the inodes"


def examine_disk(places: Iterable[tuple[str, Path]], mark: float) -> Finding:
    """Judge the file systems under the places, each once; for a place that is not there yet, the folder above it.

    Args:
        places: what lies there, and where.
        mark: share in use, 0 to 1, from which on a file system counts as full.
    """
    rooms: dict[int, Room] = {}
    for use, path in places:
        there = nearest(path)
        try:
            device, room = there.stat().st_dev, measure(use, there)
        except OSError as error:
            return unknown(f"{there} ({use}) cannot be looked at: {error.strerror}")
        if device in rooms:
            uses = rooms[device].uses
            room = replace(room, uses=uses if use in uses else (*uses, use), path=rooms[device].path)
        rooms[device] = room
    worst = sorted(rooms.values(), key=lambda room: (-room.severity(mark), room.space.free))
    if not worst:
        return unknown("there is no place to look at")
    bad = [room for room in worst if room.severity(mark)]
    if not bad:
        return well("; ".join(map(str, worst)))
    message = "; ".join(map(str, bad))
    match bad[0].severity(mark):
        case 1:
            return notable(f"{message}: free some space before it is full", _WHERE)
        case 2:
            return failed(f"{message}: nearly no file can be made any more; remove some", _WHERE)
        case _:
            told = f"{mark:.0%} is the mark"
            return failed(f"{message}: too full ({told}), so nothing is started; free some space", _WHERE)


def measure(use: str, path: Path) -> Room:
    """Return what is left on the file system of an existing folder."""
    found = os.statvfs(path)
    inodes = found.f_favail / found.f_files if found.f_files else 1.0
    return Room((use,), path, Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize), inodes)


def nearest(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    for each in (path, *path.parents):
        if each.exists():
            return each
    return Path("/")


def _rounded(size: int) -> int:
    """Return about the same number of bytes with a short name: whole MiB, from 10 GiB on whole GiB."""
    unit = 1024**3 if size >= 10 * 1024**3 else 1024**2 if size >= 1024**2 else 1
    return size // unit * unit
