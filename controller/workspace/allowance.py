"""How much one look at a worktree may read: an agent decides what is in it, and stretching a file to any size is free.

What is too much is told by name with the way out. Nothing is left out silently: until it is ignored, moved away or
given up by name ('cco delete --discard-work'), the look fails and so the worktree stays.
"""

from __future__ import annotations

import heapq
import math
import os
import time

from controller.errors import Terminal

MAX_FILE = 4 << 30
"""Bytes of one file that is to be saved, as of one that comes home in a commit; larger ones may be there unchanged."""
MAX_READ = 64 << 30
"""Bytes read in one look: some minutes of one processor. What was read is remembered, so the next look goes on."""
MAX_SNAPSHOT = 16 << 30
"""Bytes of what one snapshot has to hold, before they are compressed."""
MAX_ENTRIES = 1_000_000
"""Files and folders of a worktree that are not ignored, or of a commit: some 500 MB of memory at the very most."""
MAX_NAMES = 160 << 20
"""Bytes of names, with their hashes, that git tells at a time."""
LOOK_SECONDS = 900.0
"""The same for the time of one look."""

_TOLD = 3
_WAY_OUT = "let git ignore what is no work of yours there ('.gitignore' or '.git/info/exclude'), or move it away"


class Allowance:
    """What one look may still do.

    Args:
        worktree: absolute path, for what is told.
    """

    def __init__(self, worktree: str) -> None:
        self._worktree = worktree
        self._bytes = MAX_READ
        self._entries = MAX_ENTRIES
        self._deadline = time.monotonic() + LOOK_SECONDS
        self._largest: list[tuple[int, str]] = []

    @property
    def entries(self) -> int:
        """How many files and folders may still be found."""
        return self._entries

    @property
    def seconds(self) -> float:
        """How much time is left, at least a second."""
        return max(1.0, self._deadline - time.monotonic())

    def place(self, path: str) -> str:
        """Return how a path in the worktree is told."""
        return os.path.join(self._worktree, path)

    def found(self, entries: int) -> None:
        """Count files and folders."""
        self._entries -= entries

    def read(self, size: int, place: str) -> None:
        """Count a file before it is read."""
        heapq.heappush(self._largest, (size, place))
        if len(self._largest) > _TOLD:
            heapq.heappop(self._largest)
        self._bytes -= size
        if self._bytes < 0:
            raise self._too_much(f"has more than {MAX_READ >> 30} GiB to read")
        self.go_on(place)

    def go_on(self, place: str) -> None:
        """Raise Terminal ``WorktreeTooLarge`` when the time is over."""
        if time.monotonic() > self._deadline:
            raise self._too_much(f"could not be read within {LOOK_SECONDS:g} s, up to {place!r}")

    def too_many(self, path: str) -> Terminal:
        """Return the error for a folder in which there are more files than are looked at."""
        return self._error(f"has more than {MAX_ENTRIES} files and folders, up to those in {path or '.'!r}")

    def too_much_ignored(self, path: str) -> Terminal:
        """Return the error for a folder of which git cannot tell what is ignored."""
        return self._error(
            f"holds in {path or '.'!r} more ignored files than git can tell in the time there is (ignore whole "
            "folders, not each file), or a '.gitignore' that is no ordinary file"
        )

    def _too_much(self, what: str) -> Terminal:
        largest = ", ".join(f"{place!r} ({show_size(size)})" for size, place in sorted(self._largest, reverse=True))
        return self._error(f"{what}; what was read is remembered. The largest of it: {largest}")

    def _error(self, what: str) -> Terminal:
        return Terminal("WorktreeTooLarge", f"{self._worktree} {what}. To save or remove it, {_WAY_OUT}")


def file_too_large(place: str, size: int) -> Terminal:
    """Return the error for a file that cannot be saved."""
    most = show_size(MAX_FILE)
    return Terminal(
        "FileTooLarge", f"{place!r} has {show_size(size)}, and no file of more than {most} can be saved: {_WAY_OUT}"
    )


def snapshot_too_large(worktree: str, total: int, largest: list[tuple[int, str]]) -> Terminal:
    """Return the error for more uncommitted work than one snapshot holds."""
    told = ", ".join(f"{path!r} ({show_size(size)})" for size, path in heapq.nlargest(_TOLD, largest))
    return Terminal(
        "WorktreeTooLarge",
        f"{worktree} has {show_size(total)} of uncommitted files, and a snapshot holds {show_size(MAX_SNAPSHOT)}. The "
        f"largest: {told}. To save or remove it, {_WAY_OUT}",
    )


def show_size(size: int) -> str:
    """Return a size for people, rounded up: what is a byte too large must not look as large as allowed."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{math.ceil(size / unit * 10) / 10:g} {name}"
    return f"{size} bytes"
