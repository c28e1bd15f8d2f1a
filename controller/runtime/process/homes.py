"""HOME folders: one per instance, closed to others, outliving every workload.

::

    homes/cco-web-1a2b3c4d-home/owner.json       whose it is; out of the instance's reach where users differ
    homes/cco-web-1a2b3c4d-home/settings.json    Claude's hooks, see ``programs``
    homes/cco-web-1a2b3c4d-home/bin/git          likewise
    homes/cco-web-1a2b3c4d-home/home             HOME itself
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from controller.errors import Conflict, Retryable, Unavailable
from controller.workspace.safe_files import remove_tree

logger = logging.getLogger(__name__)

_GONE = ".gone-"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a HOME is."""

    installation: str
    instance: str
    uid: str
    created_at: str


class Homes:
    """All HOME folders of a ``STATE/process``.

    Args:
        folder: that holds them.
        prefix: first part of their names.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix

    def name(self, instance: str, uid: str) -> str:
        """Return the name of an instance's folder; a new instance of an old name gets a new one."""
        return f"{self._prefix}-{instance}-{uid[:8]}-home"

    def path(self, instance: str, uid: str) -> Path:
        """Return the folder that holds HOME and what is beside it."""
        return self._folder / self.name(instance, uid)

    def owner(self, name: str) -> Owner | None:
        """Return whose the folder of this name is; ``None``: nobody's of ours, or it is not there."""
        try:
            return Owner(**json.loads((self._folder / name / "owner.json").read_bytes()))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None
        except OSError as error:
            raise _unavailable(self._folder / name, error) from error

    def all(self) -> list[tuple[str, Owner]]:
        """Return every folder that is somebody's, with its owner."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._folder) if not entry.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unavailable(self._folder, error) from error
        return [(name, owner) for name in names if (owner := self.owner(name)) is not None]

    def check(self, wanted: Owner) -> bool:
        """Return whether the folder is there; somebody else's is a conflict.

        Raises:
            Conflict: ``NameConflict``.
        """
        path = self.path(wanted.instance, wanted.uid)
        if not os.path.lexists(path):
            return False
        owner = self.owner(path.name)
        if owner is None or (owner.installation, owner.uid) != (wanted.installation, wanted.uid):
            raise Conflict(
                "NameConflict",
                f"the folder {path} exists and does not carry the uid {wanted.uid} of this installation: it is left "
                "alone; rename the instance, or look into the folder and move it away",
            )
        return True

    def make(self, wanted: Owner, user: tuple[int, int] | None) -> bool:
        """Make it unless it is there; returns whether it was made.

        Raises:
            Conflict: ``NameConflict``.
            Unavailable: it cannot be made.
        """
        if self.check(wanted):
            return False
        path = self.path(wanted.instance, wanted.uid)
        aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (aside / "home").mkdir(mode=0o700, parents=True)
            (aside / "owner.json").write_text(json.dumps(asdict(wanted)), encoding="utf-8")
            if user is not None:
                os.chown(aside / "home", *user)
            aside.rename(path)
        except OSError as error:
            with contextlib.suppress(Retryable):  # the next removal of this HOME sweeps it, and tells
                _remove(aside)
            if self.check(wanted):  # made by somebody else meanwhile
                return False
            raise _unavailable(path, error) from error
        return True

    def remove(self, wanted: Owner) -> None:
        """Remove it, whatever the instance put into it; idempotent.

        Raises:
            Conflict: ``NameConflict``.
            Retryable: ``RemovalFailed``, not all of it could be removed; said again by every try until it is gone.
            Unavailable: the folder of all HOMEs cannot be used.
        """
        path = self.path(wanted.instance, wanted.uid)
        self._sweep(path.name)
        if not self.check(wanted):
            return
        # At once under another name: half a HOME must not be taken for one.
        gone = path.with_name(f".{path.name}{_GONE}{os.urandom(4).hex()}")
        with _telling(path):
            path.rename(gone)
        _remove(gone)

    def _sweep(self, name: str) -> None:
        """Finish removals that were cut off, and what was cut off of the making of this one: others may be making."""
        others = []
        with contextlib.suppress(FileNotFoundError), _telling(self._folder):
            for entry in list(os.scandir(self._folder)):
                if entry.name.startswith(f".{name}."):
                    _remove(Path(entry.path))
                elif entry.name.startswith(f".{self._prefix}-") and _GONE in entry.name:
                    others.append(Path(entry.path))
        for path in others:
            try:
                _remove(path)
            except Retryable as error:  # its own removal fails until it is gone, this one need not
                extra = {"cco_reason": error.reason, "cco_error": error.message}
                logger.warning("remains of another HOME stay", extra=extra)


def _remove(path: Path) -> None:
    """Remove a folder however deep and however closed to its owner; several may be at it."""
    try:
        remove_tree(str(path))
    except Retryable as error:
        if os.path.lexists(path):
            message = f"{error.message}; see to permissions and mounts below {path}, or remove it by hand"
            raise Retryable(error.reason, f"{message}; it is tried again") from error


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unavailable(path, error) from error


def _unavailable(path: Path, error: OSError) -> Unavailable:
    return Unavailable("RuntimeUnavailable", f"{path} cannot be used: {error.strerror}; it is tried again")
