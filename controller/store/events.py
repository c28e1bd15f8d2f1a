"""Events: a bounded history for people; equal ones in a row are counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, select, update

from controller.resources import Event, EventType, Kind

from . import schema
from .database import Database
from .revision import bump_for_event

MAX_MESSAGE_CHARACTERS = 2000

_TABLE = schema.events
_NEWEST = (
    select(_TABLE.c.id, _TABLE.c.type, _TABLE.c.reason, _TABLE.c.message)
    .where(_TABLE.c.uid == bindparam("object_uid"))
    .order_by(_TABLE.c.id.desc())
    .limit(1)
)
_COUNT = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("newest_id"))
    .values(occurrences=_TABLE.c.occurrences + 1, last_at=bindparam("now"), resource_version=bindparam("revision"))
)
_INSERT = _TABLE.insert()
_FORGET = delete(_TABLE).where(_TABLE.c.id <= bindparam("last_id"))


class EventStore:
    """Records what happened. Events outlive their object and disappear when too many newer ones came."""

    MAX_EVENTS = 10_000

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        kind: Kind,
        name: str,
        uid: str,
        type: EventType,  # noqa: A002 - the field's name
        reason: str,
        message: str,
    ) -> None:
        """Record one event; equal to the object's newest one, it is counted there instead."""
        now = datetime.now(UTC)
        message = message[:MAX_MESSAGE_CHARACTERS]
        with self._database.write() as connection:
            revision = bump_for_event(connection)
            newest = connection.execute(_NEWEST, {"object_uid": uid}).first()
            if newest is not None and (newest.type, newest.reason, newest.message) == (type.value, reason, message):
                connection.execute(_COUNT, {"newest_id": newest.id, "now": now, "revision": revision})
                return
            made = {
                "kind": kind.value,
                "name": name,
                "uid": uid,
                "type": type.value,
                "reason": reason,
                "message": message,
                "occurrences": 1,
                "first_at": now,
                "last_at": now,
                "resource_version": revision,
            }
            result = connection.execute(_INSERT, made)
            newest_id = int(result.inserted_primary_key[0]) if result.inserted_primary_key else 0
            if newest_id % 100 == 0:
                connection.execute(_FORGET, {"last_id": newest_id - self.MAX_EVENTS})

    def list(
        self, kind: Kind | None = None, name: str | None = None, after: int | None = None, limit: int | None = None
    ) -> Sequence[Event]:
        """Return events, oldest first.

        Args:
            kind: only of objects of that kind.
            name: only of objects of that name, whatever their uid was.
            after: a resource_version; the first ``limit`` events recorded or counted since. Without it, the
                newest ``limit`` events.
            limit: at most so many; ``None`` = all there are.
        """
        query = select(_TABLE)
        if kind is not None:
            query = query.where(_TABLE.c.kind == kind.value)
        if name is not None:
            query = query.where(_TABLE.c.name == name)
        if after is not None:
            query = query.where(_TABLE.c.resource_version > after).order_by(_TABLE.c.resource_version)
        else:
            query = query.order_by(_TABLE.c.resource_version.desc())
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit)).all()
        found = [to_event(row) for row in rows]
        return found if after is not None else found[::-1]

    def count(self) -> int:
        """Return how many events are kept."""
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(_TABLE)) or 0


def to_event(row: Row[Any]) -> Event:
    """Return the row as the resource model."""
    return Event(
        id=row.id,
        kind=Kind(row.kind),
        name=row.name,
        uid=row.uid,
        type=EventType(row.type),
        reason=row.reason,
        message=row.message,
        count=row.occurrences,
        first_at=row.first_at,
        last_at=row.last_at,
        resource_version=row.resource_version,
    )
