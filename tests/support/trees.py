"""Folders as values, to be compared, and as an agent makes them."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def tree_of(root: Path) -> dict[str, tuple[str, bytes]]:
    """Return path to git's mode and bytes of every file and link; ``.git`` itself and empty folders do not count."""
    found: dict[str, tuple[str, bytes]] = {}
    for folder, folders, files in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name != ".git"]
            files = [name for name in files if name != ".git"]  # noqa: PLW2901 - only here
        for path in (Path(folder) / name for name in (*folders, *files)):
            mode = path.lstat().st_mode
            relative = str(path.relative_to(root))
            if stat.S_ISLNK(mode):
                found[relative] = ("120000", os.fsencode(path.readlink()))
            elif stat.S_ISREG(mode):
                found[relative] = ("100755" if mode & stat.S_IXUSR else "100644", path.read_bytes())
            elif not stat.S_ISDIR(mode):
                found[relative] = (f"{stat.S_IFMT(mode):o}", b"")
    return found


def nest(folder: Path, depth: int) -> None:
    """Make a folder in a folder in a folder: deeper than a path may be long, than a recursion or descriptors go."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
