"""The change log: what is different since a revision; whole objects for watchers, names for the loop.

There is no log table to keep short. Every object carries the revision of its newest change, so the log is a
query; only deleted objects need a row of their own (a tombstone), and only those are ever forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal, NamedTuple

from sqlalchemy import BindParameter, CompoundSelect, Connection, Select, Table, bindparam, select, union_all

from controller.errors import StoreError
from controller.resources import Event, Instance, Kind, Repository

from . import schema
from .events import to_event
from .objects import ObjectStore
from .revision import look

AnyStore = ObjectStore[Any, Any, Any]


class RevisionGone(StoreError):
    """The changes since that revision are no longer known: list everything again and go on from there."""


@dataclass(frozen=True, slots=True)
class Change:
    """The newest change of one object.

    Attributes:
        type: ``ADDED`` when the object was made after the revision asked for; treat ``MODIFIED`` of an object
            you do not know as added, and ``DELETED`` of one as nothing.
        decode: returns ``object``; most of a change's cost.
    """

    resource_version: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    kind: Kind
    name: str
    decode: Callable[[], Instance | Repository] = field(repr=False)

    @property
    def object(self) -> Instance | Repository:
        """The object as it was when the change was read; of a deleted object its last form. Made at every call.

        Raises:
            Terminal: ``InvalidRecord``.
        """
        return self.decode()


class Wishes(NamedTuple):
    """The objects of which a user wants something else than before; ``revision`` is that of the look.

    That is a new spec, new labels, a wish to delete, a new input, or that it was made or is gone.
    """

    revision: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventChange:
    """A new event, or one that happened again."""

    resource_version: int
    event: Event


@dataclass(frozen=True, slots=True)
class Span:
    """Which revisions are asked for: beyond ``after``, and up to ``until`` where it is given."""

    after: int
    until: int = 2**63 - 1

    def parameters(self, limit: int | None) -> dict[str, int]:
        """Return what the prepared questions want to know."""
        known = {"beyond": self.after, "until": self.until}
        return known if limit is None else {**known, "at_most": limit + 1}


@cache
def _question(table: Table, *, limited: bool) -> Select[Any]:
    """Return the query for what changed in a table; made once, because making it costs more than asking it."""
    version = table.c.resource_version
    query = select(table).where(version > bindparam("beyond"), version <= bindparam("until")).order_by(version)
    return query.limit(bindparam("at_most")) if limited else query


@cache
def _question_of_deleted(kind: str, *, limited: bool) -> Select[Any]:
    table = schema.tombstones
    return _question(table, limited=limited).where(table.c.kind == kind)


@cache
def _question_of_wishes(table: Table, kind: str) -> CompoundSelect[Any]:
    beyond: BindParameter[int] = bindparam("beyond")
    gone = schema.tombstones
    living = select(table.c.name, table.c.resource_version).where(
        table.c.resource_version > beyond,  # has an index, and is never behind the other one
        table.c.desired_version > beyond,
    )
    deleted = select(gone.c.name, gone.c.resource_version).where(gone.c.resource_version > beyond, gone.c.kind == kind)
    return union_all(living, deleted).order_by("resource_version")


def read_wishes(connection: Connection, store: AnyStore, after: int) -> Wishes:
    """See :meth:`Store.wishes`; the connection must see one moment."""
    newest = _check_known(connection, after)
    query = _question_of_wishes(store.table, store.kind.value)
    return Wishes(newest, tuple(connection.scalars(query, {"beyond": after})))


def read_changes(
    connection: Connection, stores: Sequence[AnyStore], after: int, limit: int | None = None
) -> list[Change]:
    """See :meth:`Store.changes`; the connection must see one moment."""
    _check_known(connection, after)
    found = _read(connection, stores, Span(after), limit)
    if limit is None or len(found) <= limit:
        return found
    # Never split a revision: a batch (usage of many instances) has one revision for all of them.
    return _read(connection, stores, Span(after, found[limit - 1].resource_version), None)


def read_events(connection: Connection, after: int) -> list[EventChange]:
    """Return the events recorded or counted since, in order."""
    version = schema.events.c.resource_version
    rows = connection.execute(schema.events.select().where(version > after).order_by(version))
    return [EventChange(row.resource_version, to_event(row)) for row in rows]


def _check_known(connection: Connection, after: int) -> int:
    """Return the newest revision; raises RevisionGone."""
    known = look(connection)
    if not known.compacted <= after <= known.current:
        raise RevisionGone(
            "RevisionGone",
            f"changes since resource_version {after} are not known (only {known.compacted} to {known.current}): "
            "list everything again and watch from the resource_version of that list",
        )
    return known.current


def _read(connection: Connection, stores: Sequence[AnyStore], span: Span, limit: int | None) -> list[Change]:
    found: list[Change] = []
    for store in stores:
        found += _live(connection, store, span, limit)
        found += _deleted(connection, store, span, limit)
    found.sort(key=lambda change: change.resource_version)
    return found


def _live(connection: Connection, store: AnyStore, span: Span, limit: int | None) -> list[Change]:
    query = _question(store.table, limited=limit is not None)
    rows = connection.execute(query, span.parameters(limit))
    return [
        Change(
            resource_version=row.resource_version,
            type="ADDED" if row.created_version > span.after else "MODIFIED",
            kind=store.kind,
            name=row.name,
            decode=partial(store.decode, row),
        )
        for row in rows
    ]


def _deleted(connection: Connection, store: AnyStore, span: Span, limit: int | None) -> list[Change]:
    query = _question_of_deleted(store.kind.value, limited=limit is not None)
    rows = connection.execute(query, span.parameters(limit))
    return [
        Change(
            resource_version=row.resource_version,
            type="DELETED",
            kind=store.kind,
            name=row.name,
            decode=partial(store.parse, row.object),
        )
        for row in rows
    ]
