"""The state directory: private, owned by the user it belongs to, and used by one controller at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import Terminal
from .settings import Settings

LOCK_NAME = "controller.lock"
_LONGEST_SOCKET_PATH = 107


def prepare_state_directory(settings: Settings) -> None:
    """Make the state directory, mode 0700; one that the engine made for root goes to the owner of ``root``.

    Raises:
        Terminal: ``StateDirectoryUnusable``.
    """
    directory = settings.state_dir
    if len(os.fsencode(settings.controller_socket)) > _LONGEST_SOCKET_PATH:
        message = f"state_dir {str(directory)!r} is too long for the sockets in it; set CCO_STATE_DIR to a shorter path"
        raise Terminal("StateDirectoryUnusable", message)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        if os.geteuid() == 0 and settings.root is not None and not any(directory.iterdir()):
            owner = settings.root.stat()
            os.chown(directory, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise _unusable(directory, error) from error


def _unusable(directory: Path, error: OSError) -> Terminal:
    message = f"state_dir {str(directory)!r} cannot be used: {error.strerror}; set CCO_STATE_DIR to a folder of yours"
    return Terminal("StateDirectoryUnusable", message)


@contextlib.contextmanager
def controller_lock(directory: Path) -> Iterator[None]:
    """Hold the state directory for this controller.

    Raises:
        Terminal: ``ControllerRunning``, naming the process that holds it; ``StateDirectoryUnusable``.
    """
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(directory, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 100).decode(errors="replace").strip() or "unknown"
            message = f"another controller (process {holder}) uses {directory}; stop it, or set another CCO_STATE_DIR"
            raise Terminal("ControllerRunning", message) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {os.uname().nodename}\n".encode())
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class RunDirectories:
    """The folders that are mounted at ``/run/cco``, one per instance."""

    settings: Settings

    def path(self, name: str) -> Path:
        """Return an instance's folder; ``AgentLinks`` makes it."""
        return self.settings.instance_dir(name) / "run"

    def remove(self, name: str) -> None:
        """Remove it, and the instance's folder above it if that is empty; idempotent."""
        shutil.rmtree(self.path(name), ignore_errors=True)
        with contextlib.suppress(OSError):
            self.settings.instance_dir(name).rmdir()
