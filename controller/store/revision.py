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
    return int(connection.execute(_BUMP).scalar_one())


def bump_for_event(connection: Connection) -> int:
    """Raise the counter for a change of an event."""
    return int(connection.execute(_BUMP_EVENT).scalar_one())


def look(connection: Connection) -> Revisions:
    """Return the counter as this transaction sees it."""
    row = connection.execute(_LOOK).one()
    return Revisions(int(row.revision), int(row.object_revision), int(row.compacted))
