"""Who may pass which folder, as far as mode bits tell; asked by a controller that is root for a user who is not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

User = tuple[int, int]
"""``(uid, gid)``."""


def closed_folder(path: str | Path, user: User) -> Path | None:
    """Return the first folder on the way to a file, links followed, that the user cannot enter; ``None``: all open."""
    real = Path(os.path.realpath(path))
    for folder in reversed(real.parents):
        try:
            seen = folder.stat()
        except OSError:
            return None  # what is missing is told elsewhere
        shift = 6 if seen.st_uid == user[0] else 3 if seen.st_gid == user[1] else 0
        if not seen.st_mode >> shift & 1:
            return folder
    return None


def is_reachable(path: str | Path, user: User | None) -> bool:
    """Whether a user, or we ourselves (``None``), can get at a file."""
    return user is None or closed_folder(path, user) is None


def let_pass(folder: Path, group: int | None = None) -> None:
    """Let everybody, or a group, pass through a folder of root's, not look into it; idempotent.

    Raises:
        OSError: it is not there, or not ours.
    """
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != 0:
        return
    bit = stat.S_IXOTH if group is None else stat.S_IXGRP
    if group is not None and seen.st_gid != group:
        os.chown(folder, -1, group)
    if not seen.st_mode & bit:
        folder.chmod(stat.S_IMODE(seen.st_mode) | bit)
