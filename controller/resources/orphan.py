"""Orphans: what is ours on this machine and belongs to no declared instance.

Found by the controller (``controller/orphans``), asked for by ``cco gc``; never stored, because only a fresh look
is worth anything.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .base import Model, Timestamp

MAX_SWEPT = 10_000
OrphanId = Annotated[str, Field(pattern=r"^[0-9a-f]{20}$")]


class OrphanKind(StrEnum):
    """What a thing is.

    ``WORKLOAD``, ``HOME`` and ``NETWORK`` are the runtime's: a container or a group of processes, the HOME that
    outlives them, a network. The others are on disk: a worktree in a repository, a private git directory, one that
    was set aside because it was damaged, the quarantine through which commits come home, what a removal that was cut
    off has left, and an instance's folder in the state directory without any of these.
    """

    WORKLOAD = "workload"
    HOME = "home"
    NETWORK = "network"
    WORKTREE = "worktree"
    GIT_DIRECTORY = "git-directory"
    SET_ASIDE = "set-aside"
    QUARANTINE = "quarantine"
    REMAINS = "remains"
    FOLDER = "folder"


class Origin(StrEnum):
    """Why a thing is an orphan.

    ``DELETED``: its instance was deleted here; the memory of that is kept. ``UNKNOWN``: no instance with its uid is
    declared, and none is known to have been deleted: the database may have been lost or be older than the thing.
    ``OLD_ATTEMPT``: an earlier container of an instance that lives. ``UNNAMED``: it carries our mark, but does not
    say of which instance. ``UNUSED``: a network that instances no longer use.
    """

    DELETED = "Deleted"
    UNKNOWN = "Unknown"
    OLD_ATTEMPT = "OldAttempt"
    UNNAMED = "Unnamed"
    UNUSED = "Unused"


class Obstacle(StrEnum):
    """Why an orphan must not be removed now."""

    RUNNING = "Running"
    NOT_LOOKED_AT = "NotLookedAt"
    NOT_SURELY_OURS = "NotSurelyOurs"
    CANNOT_BE_SAVED = "CannotBeSaved"
    TOO_YOUNG = "TooYoung"


class Orphan(Model):
    """One thing.

    Attributes:
        id: of exactly this thing of exactly this uid; a sweep is given the ids that were seen.
        name: what a person would look for: a container's name, a path.
        instance: name of the instance it was made for; empty where nothing says it.
        uid: of that instance; likewise.
        runtime: which runtime has it; ``None`` for what is on disk.
        created_at: as far as the machine knows.
        running: something is alive in it.
        unsaved: holds work that is saved nowhere else; ``None`` where that does not apply or is not known.
        safe: may be removed; work in it is saved first.
        obstacle: why not, if not.
        message: the same for people, with the way out.
    """

    id: str
    kind: OrphanKind
    name: str
    instance: str = ""
    uid: str = ""
    runtime: str | None = None
    created_at: Timestamp | None = None
    running: bool = False
    unsaved: bool | None = None
    origin: Origin
    safe: bool
    obstacle: Obstacle | None = None
    message: str = ""


class NotLookedAt(Model):
    """A place that could not be looked at; nothing is concluded about what is there."""

    part: str
    reason: str
    message: str


class OrphanList(Model):
    """All orphans, and where none could be looked for."""

    items: tuple[Orphan, ...] = ()
    skipped: tuple[NotLookedAt, ...] = ()


class SweepRequest(Model):
    """What to remove: ids that were seen in an :class:`OrphanList`."""

    ids: tuple[OrphanId, ...] = Field(min_length=1, max_length=MAX_SWEPT)


class SweepResult(StrEnum):
    """``GONE``: it is no orphan any more: it vanished, changed, or belongs to an instance again."""

    REMOVED = "removed"
    KEPT = "kept"
    GONE = "gone"


class Swept(Model):
    """What became of one orphan.

    Attributes:
        reason: why it was kept.
        message: for people: why it was kept, or where its work is now.
    """

    id: str
    kind: OrphanKind | None = None
    name: str = ""
    instance: str = ""
    uid: str = ""
    result: SweepResult
    reason: str | None = None
    message: str = ""


class SweepReport(Model):
    """Outcome of a sweep, in the order of the ids."""

    items: tuple[Swept, ...] = ()
    skipped: tuple[NotLookedAt, ...] = ()
