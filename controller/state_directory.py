"""The state directory: private, and owned by the user it belongs to. Who may use it: ``leadership``."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from .errors import Retryable, Terminal
from .settings import Settings

_LONGEST_SOCKET_PATH = 107


def prepare_state_directory(settings: Settings) -> None:
    """Make the state directory, private; one that the engine made for root goes to the owner of ``root``.

    Raises:
        Terminal: ``StateDirectoryUnusable``.
    """
    directory = settings.state_dir
    if len(os.fsencode(settings.controller_socket)) > _LONGEST_SOCKET_PATH:
        message = f"state_dir {str(directory)!r} is too long for the sockets in it; set CCO_STATE_DIR to a shorter path"
        raise Terminal("StateDirectoryUnusable", message)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(private_mode(directory))
        if os.geteuid() == 0 and settings.root is not None and not any(directory.iterdir()):
            owner = settings.root.stat()
            os.chown(directory, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise unusable(directory, error) from error


def private_mode(directory: Path) -> int:
    """Return the mode of a state directory: 0700, and 0711 where instances that run as other users pass through it.

    Runtime ``process`` lets them (``runtime.process.environment``), and the folder of their HOMEs shows that it did.
    They run on while controllers come and go, so nobody may shut the door on them in between.
    """
    try:
        homes = (directory / "process" / "homes").stat()
    except OSError:
        return 0o700
    return 0o711 if homes.st_mode & stat.S_IXOTH else 0o700


def unusable(directory: Path, error: OSError) -> Terminal:
    """Return the error for a state directory that cannot be worked with."""
    message = f"state_dir {str(directory)!r} cannot be used: {error.strerror}; set CCO_STATE_DIR to a folder of yours"
    return Terminal("StateDirectoryUnusable", message)


@dataclass(frozen=True, slots=True)
class RunDirectories:
    """The folders that are mounted at ``/run/cco``, one per instance."""

    settings: Settings

    def path(self, name: str) -> Path:
        """Return an instance's folder; ``AgentLinks`` makes it."""
        return self.settings.instance_dir(name) / "run"

    def remove(self, name: str) -> None:
        """Remove it, and the instance's folder above it if that is empty; idempotent.

        Raises:
            Retryable: ``StateDirectoryUnusable``; what is left is removed by the next try.
        """
        try:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self.path(name))
            _remove_if_empty(self.settings.instance_dir(name))
        except OSError as error:
            message = f"{error.filename or self.path(name)} cannot be removed: {error.strerror}"
            raise Retryable("StateDirectoryUnusable", message) from error


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
