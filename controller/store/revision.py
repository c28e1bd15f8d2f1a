"""The one counter behind every ``resource_version``."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select, update

from . import schema

_TABLE = schema.installation
_BUMP = update(_TABLE).values(revision=_TABLE.c.revision + 1).returning(_TABLE.c.revision)
_LOOK = select(_TABLE.c.revision, _TABLE.c.compacted)


class Revisions(NamedTuple):
    """``current`` is the newest revision; changes up to ``compacted`` may have been forgotten."""

    current: int
    compacted: int


def bump(connection: Connection) -> int:
    """Raise the counter and return it; the first statement of every write."""
    return int(connection.execute(_BUMP).scalar_one())


def look(connection: Connection) -> Revisions:
    """Return the counter as this transaction sees it."""
    row = connection.execute(_LOOK).one()
    return Revisions(int(row.revision), int(row.compacted))
