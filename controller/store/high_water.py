"""How far the counters had come, kept beside the database so that a copy of an older day does not count again.

Two things must never be handed out twice: a revision, because a watcher who saw revision 100 of the lost days asks
for "everything after 100" and would miss what is different below it; and a controller's generation, because the
fence compares it. Both are noted after each commit, without waiting for the disk: it takes microseconds and uses no
space. A note may be lost with the power, or be a few commits behind after a crash, hence :data:`MARGIN`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import NamedTuple

MARGIN = 1000
"""Added when counting goes on behind a mark: more than notes can ever lag behind commits."""

_DIGITS = 20
EMPTY = b"0" * _DIGITS + b" " + b"0" * _DIGITS + b"\n"


class Mark(NamedTuple):
    """The highest of each that is known to have been handed out."""

    revision: int
    generation: int


class HighWater:
    """The file ``state.db.mark``; safe to use from many threads and processes (the last one to write wins)."""

    def __init__(self, database: Path) -> None:
        self.path = mark_path(database)
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._mark = Mark(0, 0)

    def read(self) -> Mark:
        """Return the mark; zeros when there is none, or none that can be read."""
        self._mark = read_mark(self.path)
        return self._mark

    def raise_to(self, revision: int | None = None, generation: int | None = None) -> None:
        """Note what was handed out; does nothing for what is not higher than the last note of this process."""
        with self._lock:
            if revision is not None and revision > self._mark.revision:
                self._note(0, revision)
                self._mark = self._mark._replace(revision=revision)
            if generation is not None and generation > self._mark.generation:
                self._note(_DIGITS + 1, generation)
                self._mark = self._mark._replace(generation=generation)

    def _note(self, offset: int, number: int) -> None:
        # Each number by itself: other processes note the other one.
        with contextlib.suppress(OSError):  # it guards against a second misfortune; the write itself succeeded
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            os.pwrite(self._descriptor, f"{number:0{_DIGITS}}".encode(), offset)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def mark_path(database: Path) -> Path:
    """Return where the mark of a database is."""
    return database.with_name(f"{database.name}.mark")


def read_mark(path: Path) -> Mark:
    """Return the mark in a file; zeros when there is none, or none that can be read."""
    try:
        words = path.read_bytes()[: len(EMPTY)].split()
        return Mark(int(words[0]), int(words[1]))
    except (OSError, ValueError, IndexError):
        return Mark(0, 0)
