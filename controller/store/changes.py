"""The change log: what is different since a revision.

There is no log table to keep short. Every object carries the revision of its newest change, so the log is a
query; only deleted objects need a row of their own (a tombstone), and only those are ever forgotten.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, select

from controller.errors import StoreError
from controller.resources import Event, Instance, Kind, Repository

from . import schema
from .events import EVENT, EventStore, to_event
from .objects import ObjectStore
from .revision import look

AnyStore = ObjectStore[Any, Any, Any]

OBJECTS = frozenset({Kind.INSTANCE.value, Kind.REPOSITORY.value})


class RevisionGone(StoreError):
    """The changes since that revision are no longer known: list everything again and go on from there."""


@dataclass(frozen=True, slots=True)
class Change:
    """The newest change of one object.

    Attributes:
        type: ``ADDED`` when the object was made after the revision asked for; treat ``MODIFIED`` of an object
            you do not know as added, and ``DELETED`` of one as nothing.
        kind: ``Event`` only when it was asked for.
        object: as it is now; of a deleted object its last form.
        desired: the user's half changed after the revision asked for: spec, labels, a wish to delete or a new
            input. ``False`` = only what the controller wrote itself.
    """

    resource_version: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    kind: Kind | Literal["Event"]
    name: str
    object: Instance | Repository | Event
    desired: bool = True


def read_changes(
    connection: Connection,
    after: int,
    limit: int | None,
    kinds: Collection[str],
    stores: tuple[AnyStore, ...],
) -> list[Change]:
    """See :meth:`Store.changes`; the connection must see one moment."""
    known = look(connection)
    if not known.compacted <= after <= known.current:
        raise RevisionGone(
            "RevisionGone",
            f"changes since resource_version {after} are not known (only {known.compacted} to {known.current}): "
            "list everything again and watch from the resource_version of that list",
        )
    found = _read(connection, after, None, limit, kinds, stores)
    if limit is None or len(found) <= limit:
        return found
    # Never split a revision: a batch (usage of many instances) has one revision for all of them.
    return _read(connection, after, found[limit - 1].resource_version, None, kinds, stores)


def _read(
    connection: Connection,
    after: int,
    until: int | None,
    limit: int | None,
    kinds: Collection[str],
    stores: tuple[AnyStore, ...],
) -> list[Change]:
    found: list[Change] = []
    for store in stores:
        if store.kind in kinds:
            found += _live(connection, store, after, until, limit)
            found += _deleted(connection, store, after, until, limit)
    if EVENT in kinds:
        found += _events(connection, after, until, limit)
    found.sort(key=lambda change: change.resource_version)
    return found


def _live(
    connection: Connection,
    store: AnyStore,
    after: int,
    until: int | None,
    limit: int | None,
) -> list[Change]:
    version = store.table.c.resource_version
    query = store.table.select().where(_between(version, after, until)).order_by(version)
    rows = connection.execute(query.limit(None if limit is None else limit + 1))
    return [
        Change(
            resource_version=row.resource_version,
            type="ADDED" if row.created_version > after else "MODIFIED",
            kind=store.kind,
            name=row.name,
            object=store.decode(row),
            desired=row.desired_version > after,
        )
        for row in rows
    ]


def _deleted(
    connection: Connection,
    store: AnyStore,
    after: int,
    until: int | None,
    limit: int | None,
) -> list[Change]:
    table = schema.tombstones
    version = table.c.resource_version
    query = select(table).where(table.c.kind == store.kind.value, _between(version, after, until)).order_by(version)
    rows = connection.execute(query.limit(None if limit is None else limit + 1))
    return [Change(row.resource_version, "DELETED", store.kind, row.name, store.parse(row.object)) for row in rows]


def _events(connection: Connection, after: int, until: int | None, limit: int | None) -> list[Change]:
    version = schema.events.c.resource_version
    query = schema.events.select().where(_between(version, after, until)).order_by(version)
    rows = connection.execute(query.limit(EventStore.MAX_EVENTS if limit is None else limit + 1))
    return [
        Change(
            resource_version=row.resource_version,
            type="ADDED" if row.occurrences == 1 else "MODIFIED",
            kind=EVENT,
            name=row.name,
            object=to_event(row),
            desired=False,
        )
        for row in rows
    ]


def _between(version: ColumnElement[int], after: int, until: int | None) -> ColumnElement[bool]:
    return version > after if until is None else version.between(after + 1, until)
