"""Snapshots: uncommitted work that was saved before something could have lost it.

They are commits below ``refs/cco/snapshots/`` in the user's repository and nowhere else; the controller reads them
there when it is asked, so they outlive their instances and this installation's database.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from .base import Model, Timestamp
from .instance import BranchName
from .metadata import Name
from .repository import AbsolutePath


class Snapshot(Model):
    """One snapshot.

    Attributes:
        id: ``TIME-COMMIT``, the last part of its ref; unique among the snapshots of one instance name.
        repository: name of the registered repository it is in.
        instance: name of the instance whose work it is; the instance may be gone.
        uid: which instance of that name; ``None`` in one that somebody else made.
        ref: full name of its ref, for git.
        base: the commit the files stood on; ``None`` when there was none.
        branch: the branch the instance worked on, where that is known.
        message: first line of the commit's message.
        files: how many files differ from ``base``.
    """

    kind: Literal["Snapshot"] = "Snapshot"
    id: str
    repository: str
    instance: str
    uid: str | None = None
    taken_at: Timestamp
    commit: str
    ref: str
    base: str | None = None
    branch: str | None = None
    message: str
    files: int


class FileStatus(StrEnum):
    """What happened to a file since ``base``; ``RETYPED``: a link became a file, or the other way round."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"
    RETYPED = "retyped"


class FileChange(Model):
    """One file of a snapshot.

    Attributes:
        path: bytes that are no UTF-8 are written as escapes.
        old_path: the name it had before, if it was renamed.
        insertions: lines added; ``None`` for a binary file, as are ``deletions``.
    """

    status: FileStatus
    path: str
    old_path: str | None = None
    insertions: int | None = None
    deletions: int | None = None


class SnapshotDetail(Snapshot):
    """A snapshot with what is in it.

    Attributes:
        text: the whole message.
        changes: the files that differ, by path; at most 1,000 of them.
        insertions: lines added in all files, as are ``deletions``.
        diff: the difference as text, where it was asked for.
        diff_cut: it is longer than what is told (256 KiB).
    """

    text: str
    changes: tuple[FileChange, ...]
    insertions: int
    deletions: int
    diff: str | None = None
    diff_cut: bool = False


class UnreadRepository(Model):
    """A repository whose snapshots could not be listed."""

    repository: str
    reason: str
    message: str


class SnapshotList(Model):
    """Snapshots, oldest first, and the repositories that could not be asked."""

    items: tuple[Snapshot, ...] = ()
    skipped: tuple[UnreadRepository, ...] = ()


class RestoreRequest(Model):
    """Where a snapshot is to be restored to: one of the three; none of them is a new branch ``restore/NAME-TIME``.

    Attributes:
        branch: a new branch, with the snapshot at its tip.
        path: a new folder on the controller's machine: a worktree with the work uncommitted, as it was.
        into: an instance that rests, whose worktree takes the files.
    """

    branch: BranchName | None = None
    path: AbsolutePath | None = None
    into: Name | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if sum(each is not None for each in (self.branch, self.path, self.into)) > 1:
            msg = "give only one of branch, path and into"
            raise ValueError(msg)
        return self


class SnapshotRestored(Model):
    """What became of a restore.

    Attributes:
        branch: the new branch, if that was asked for.
        path: the folder that has the files now, if there is one.
        into: the instance whose worktree that is.
        files: how many files were written or removed there, or differ on the branch; 0 = everything was so already.
        previous: id of the snapshot of what was uncommitted there before; ``None`` when nothing was.
        skipped: submodules, which are no files.
    """

    snapshot: Snapshot
    branch: str | None = None
    path: str | None = None
    into: str | None = None
    files: int = Field(ge=0)
    previous: str | None = None
    skipped: tuple[str, ...] = ()
