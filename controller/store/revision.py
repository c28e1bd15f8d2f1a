"""The one counter behind every ``resource_version``.

Events count too, but whoever follows objects (the loop) must not be woken by the events it writes itself: the
counter's value at the newest change of an object is kept beside it.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select, update

from . import schema

_TABLE = schema.installation
_NEXT = _TABLE.c.revision + 1
_BUMP = update(_TABLE).values(revision=_NEXT, object_revision=_NEXT).returning(_TABLE.c.revision)
_BUMP_EVENT = update(_TABLE).values(revision=_NEXT).returning(_TABLE.c.revision)
_NOTE = "cco_revision"
_LOOK = select(_TABLE.c.revision, _TABLE.c.object_revision, _TABLE.c.compacted)


class Revisions(NamedTuple):
    """``current`` is the newest revision, ``objects`` the newest that changed more than events.

    Changes up to ``compacted`` may have been forgotten.
    """

    current: int
    objects: int
    compacted: int


def bump(connection: Connection) -> int:
    """Raise the counter for a change of an object, which has to follow in the same transaction."""
    return _note(connection, int(connection.execute(_BUMP).scalar_one()))


def bump_for_event(connection: Connection) -> int:
    """Raise the counter for a change of an event."""
    return _note(connection, int(connection.execute(_BUMP_EVENT).scalar_one()))


def bumped(connection: Connection) -> int | None:
    """Return what this transaction raised the counter to, once; ``None`` when it did not."""
    revision: int | None = connection.info.pop(_NOTE, None)
    return revision


def forget_bump(connection: Connection) -> None:
    """Forget it: the transaction was taken back."""
    connection.info.pop(_NOTE, None)


def jump(connection: Connection, revision: int) -> None:
    """Go on counting behind a revision, and let nobody ask what changed before it."""
    connection.execute(update(_TABLE).values(revision=revision, object_revision=revision, compacted=revision))
    _note(connection, revision)


def _note(connection: Connection, revision: int) -> int:
    connection.info[_NOTE] = revision
    return revision


def look(connection: Connection) -> Revisions:
    """Return the counter as this transaction sees it."""
    row = connection.execute(_LOOK).one()
    return Revisions(int(row.revision), int(row.object_revision), int(row.compacted))
