"""Which commits the private git directory names: one hash that changes whenever a branch or HEAD moves.

The files are read without git (gitrepository-layout(5)): a stat each, and the content only where that changed. The
controller brings commits home when the hash is another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


class RefsWatch:
    """The refs of one git directory."""

    def __init__(self, git_dir: Path) -> None:
        self._git_dir = git_dir
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._version: str | None = None

    def version(self) -> str | None:
        """The hash; ``None`` when there is no git directory."""
        seen = dict(self._stats())
        if not seen:
            return None
        if seen != self._seen or self._version is None:
            self._version = self._hash(sorted(seen))
            self._seen = seen
        return self._version

    def _stats(self) -> Iterator[tuple[str, tuple[int, int, int]]]:
        for name in ("HEAD", "packed-refs"):
            with contextlib.suppress(OSError):
                stat = (self._git_dir / name).stat()
                yield name, (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        folders = ["refs/heads"]
        while folders:
            folder = folders.pop()
            with contextlib.suppress(OSError), os.scandir(self._git_dir / folder) as entries:
                for entry in entries:
                    name = f"{folder}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    elif not name.endswith(".lock"):
                        stat = entry.stat(follow_symlinks=False)
                        yield name, (stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def _hash(self, names: list[str]) -> str:
        digest = hashlib.sha256()
        for name in names:
            content = b""
            with contextlib.suppress(OSError):
                content = (self._git_dir / name).read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:32]
