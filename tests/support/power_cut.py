"""What a power cut cannot take any more: files that the disk was waited for, as they were at that moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class OnDisk:
    """Remembers what was flushed to the disk, by inode."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}

    def flushed(self, descriptor: int) -> None:
        info = os.fstat(descriptor)
        self._sizes[info.st_ino] = info.st_size

    def has(self, path: Path) -> bool:
        """Tell whether all of the file was flushed."""
        info = path.stat()
        return info.st_size > 0 and self._sizes.get(info.st_ino) == info.st_size


@contextmanager
def watching_the_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[OnDisk]:
    """Watch ``os.fsync`` while the block runs."""
    disk, really = OnDisk(), os.fsync

    def fsync(descriptor: int) -> None:
        really(descriptor)
        disk.flushed(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield disk
