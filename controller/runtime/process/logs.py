"""What a workload printed: two files of bounded size, written by its shim, read by the controller."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LARGEST = 5 * 1024**2
"""Bytes of one file; there are two."""


class LogFile:
    """The writing side: the newest part in ``path``, the one before it in ``path.1``; a disk that is full loses lines.

    Args:
        path: of the newest part.
        largest: bytes after which it becomes the older one.
    """

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        self._path = path
        self._largest = largest

    def write(self, data: bytes) -> None:
        """Append; never raises, because a workload must not end for its log."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data)
                full = os.fstat(descriptor).st_size >= self._largest
            finally:
                os.close(descriptor)
            if full:
                self._path.replace(older(self._path))


def older(path: Path) -> Path:
    """Return where the older part is."""
    return path.with_name(f"{path.name}.1")


def tail(path: Path, lines: int) -> bytes:
    """Return the last lines of both parts; ``b""`` when there are none.

    Raises:
        OSError: they are there and cannot be read.
    """
    data = b""
    for part in (older(path), path):
        with contextlib.suppress(FileNotFoundError):
            data += part.read_bytes()
    return b"".join(data.splitlines(keepends=True)[-lines:])
