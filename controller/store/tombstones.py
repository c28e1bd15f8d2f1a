"""Tombstones: the last form of deleted objects, so that a watcher learns what went."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, func, select, update

from controller.resources import Kind

from . import schema

MAX_TOMBSTONES = 2000
"""Trimmed to half of it when exceeded; who asks for changes further back has to list again."""


def bury(connection: Connection, *, uid: str, kind: Kind, name: str, revision: int, object_json: str) -> None:
    """Remember the last form of a deleted object, forgetting the oldest ones of too many."""
    table = schema.tombstones
    connection.execute(
        table.insert().values(uid=uid, kind=kind.value, name=name, resource_version=revision, object=object_json)
    )
    count = connection.scalar(select(func.count()).select_from(table)) or 0
    if count <= MAX_TOMBSTONES:
        return
    horizon = connection.scalar(
        select(table.c.resource_version)
        .order_by(table.c.resource_version)
        .offset(count - MAX_TOMBSTONES // 2 - 1)
        .limit(1)
    )
    connection.execute(delete(table).where(table.c.resource_version <= horizon))
    connection.execute(update(schema.installation).values(compacted=horizon))


def find_buried(connection: Connection, kind: Kind, uids: Collection[str]) -> frozenset[str]:
    """Return those of the uids that have a tombstone; an absent one may only have been forgotten."""
    table = schema.tombstones
    query = select(table.c.uid).where(table.c.kind == kind.value, table.c.uid.in_(uids))
    return frozenset(connection.scalars(query)) if uids else frozenset()
