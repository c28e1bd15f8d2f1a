"""What we remember about a workspace beside its private git directory, in ``workspace.json``.

Written before the first thing is made in the user's repository and removed after the last one is gone, so a
crash in between always finds whose work it was.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from controller.errors import Conflict, Unavailable

from .safe_files import make_directories, read_text, write_file
from .types import WorkspaceRef

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Record:
    """The memory of one workspace.

    Attributes:
        base_commit: where the branch started.
        admin: name of the worktree's folder below the repository's ``worktrees``; ``None`` until it is known.
        complete: everything was there once; from then on files in the worktree are somebody's work.
        refilling: files that were gone are being written again; until all are there, those in the worktree are ours.
        removing: the worktree is being moved out of the way to be removed.
        made: folders above the worktree that did not exist before; they go with the last worktree in them.
        index_behind: the branch was moved to this commit and the worktree's index must follow.
        collected: fingerprint of the agent's refs that were brought home last.
    """

    uid: str
    repository: str
    branch: str
    worktree: str
    base_commit: str
    admin: str | None = None
    complete: bool = False
    refilling: bool = False
    removing: bool = False
    made: tuple[str, ...] = ()
    index_behind: str | None = None
    collected: str | None = None


@dataclass(frozen=True, slots=True)
class StatePaths:
    """Where the controller keeps an instance's git state; nothing in it but ``git`` is seen by the agent."""

    directory: str

    @classmethod
    def of(cls, ref: WorkspaceRef) -> StatePaths:
        """Return the paths beside the private git directory."""
        return cls(os.path.dirname(ref.private))

    @property
    def record(self) -> str:
        """The memory."""
        return os.path.join(self.directory, "workspace.json")

    @property
    def pointer(self) -> str:
        """The one-line file that is mounted over the worktree's ``.git``."""
        return os.path.join(self.directory, "gitfile")

    @property
    def seed(self) -> str:
        """The refs the private git directory started with."""
        return os.path.join(self.directory, "seed-refs")

    @property
    def quarantine(self) -> str:
        """Our own bare repository through which the agent's commits come home."""
        return os.path.join(self.directory, "collect.git")

    def ensure(self) -> None:
        """Make the folder, closed to everybody else."""
        make_directories(self.directory, (os.geteuid(), os.getegid()), mode=0o700)


def load(paths: StatePaths) -> Record | None:
    """Return the memory, or ``None`` when there surely is none; raises Unavailable when it cannot be read."""
    try:
        text = read_text(paths.record)
        if text is None:
            return None
        values: dict[str, Any] = json.loads(text)
        values.pop("schema")
        values["made"] = tuple(values["made"])
        return Record(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            "StateUnreadable",
            f"{paths.record} cannot be read: {error}; if it is damaged, move it away: it is written anew from the "
            "worktree's lock",
        ) from error


def load_own(paths: StatePaths, ref: WorkspaceRef) -> Record | None:
    """Return the memory of this very instance; raises Conflict ``NotOurs`` when it is another one's."""
    memory = load(paths)
    if memory is not None and memory.uid != ref.uid:
        raise Conflict("NotOurs", f"{ref.private} belongs to the instance with uid {memory.uid}: it is left as it is")
    return memory


def save(paths: StatePaths, record: Record) -> None:
    """Write the memory; the folder is made when it is missing."""
    paths.ensure()
    content = json.dumps({"schema": _SCHEMA, **asdict(record)}, ensure_ascii=True, indent=1)
    write_file(paths.record, content.encode(), mode=0o600, durable=True)


def forget(paths: StatePaths) -> None:
    """Remove the memory, last of all."""
    for name in os.listdir(paths.directory):
        if name.startswith(".") and name.endswith(".new"):  # left by a write that was cut off
            os.unlink(os.path.join(paths.directory, name))
    with suppress(FileNotFoundError):
        os.unlink(paths.record)
