"""What reading a file has told, so that nobody reads it twice; known again by inode and times, never by its path.

An agent cannot set the change time of a file, so it cannot give a file other content and have it taken for this one.
One that has the file mapped into its memory writes without changing any time, but only into pages that the kernel has
yet to write to the disk.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from typing import Generic, TypeVar

_SETTLED_NS = 2_000_000_000
"""A younger file may change again within the grain of the clock that stamps it."""
_WRITTEN_BACK_NS = 60_000_000_000
"""Of a younger file pages may wait to be written: the kernel lets them for 30 s and looks every 5 s (``proc(5)``,
``dirty_expire_centisecs``)."""

Told = TypeVar("Told")


def is_settled(info: os.stat_result) -> bool:
    """Tell whether a change after this look, and before the file is read, would show; ask at once after the look."""
    return time.time_ns() - info.st_ctime_ns > _SETTLED_NS


def is_written_back(info: os.stat_result) -> bool:
    """Tell whether even a change by a process that has the file mapped would show; ask as for :func:`is_settled`."""
    return is_settled(info) and time.time_ns() - info.st_ctime_ns > _WRITTEN_BACK_NS


class SeenFiles(Generic[Told]):
    """A memory of bounded size that all threads share.

    Args:
        most: files that are remembered; those remembered longest are forgotten first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[object, ...], Told] = OrderedDict()

    def get(self, info: os.stat_result, asked: object) -> Told | None:
        """Return what was told of the file when ``asked`` was asked of it."""
        with self._lock:
            return self._known.get(_key(info, asked))

    def put(self, info: os.stat_result, asked: object, told: Told) -> None:
        """Remember it; the caller has made sure that the file was settled when ``info`` was taken."""
        with self._lock:
            self._known[_key(info, asked)] = told
            self._known.move_to_end(_key(info, asked))
            if len(self._known) > self._most:
                self._known.popitem(last=False)


def _key(info: os.stat_result, asked: object) -> tuple[object, ...]:
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns, asked)
