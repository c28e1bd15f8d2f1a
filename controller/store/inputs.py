"""Inputs: prompts on their way to a Claude. They belong to one instance and go with it."""

from __future__ import annotations

import builtins
import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, or_, select, update

from controller.errors import NotFound
from controller.resources import Input, InputState

from . import schema
from .database import Database
from .revision import bump

_TABLE = schema.inputs
_FINAL = frozenset({InputState.ACCEPTED, InputState.REJECTED})
_PENDING = (  # made once: every pass asks, and making it costs as much as asking
    select(_TABLE)
    .where(
        _TABLE.c.uid == bindparam("object_uid"),
        or_(_TABLE.c.state == InputState.PENDING.value, _TABLE.c.state == InputState.DELIVERED.value),
    )
    .order_by(_TABLE.c.id)
)


class InputStore:
    """A new or changed input is also a change of its instance (a new ``resource_version``)."""

    MAX_FINAL = 500
    """Final inputs kept per instance; older ones are forgotten."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, instance: str, uid: str, text: str) -> Input:
        """Store a prompt for the instance with that name and uid.

        Raises:
            NotFound: no such instance (any more).
        """
        with self._database.write() as connection:
            instances = schema.instances
            if connection.scalar(select(instances.c.uid).where(instances.c.uid == uid)) is None:
                raise NotFound("InstanceNotFound", f"instance {instance!r} is gone: see 'cco get instances'")
            revision = bump(connection)
            _touch(connection, uid, revision, desired=True)
            made = Input(
                id=f"{revision:012d}-{secrets.token_hex(4)}",
                instance=instance,
                uid=uid,
                text=text,
                created_at=datetime.now(UTC),
            )
            values = made.model_dump()
            values["state"] = made.state.value
            connection.execute(_TABLE.insert().values(values))
            self._trim(connection, uid)
        return made

    def _trim(self, connection: Connection, uid: str) -> None:
        oldest_kept = (
            select(_TABLE.c.id)
            .where(_TABLE.c.uid == uid, _TABLE.c.state.in_(_FINAL))
            .order_by(_TABLE.c.id.desc())
            .offset(self.MAX_FINAL)
            .limit(1)
        )
        last = connection.scalar(oldest_kept)
        if last is not None:
            connection.execute(
                delete(_TABLE).where(_TABLE.c.uid == uid, _TABLE.c.id <= last, _TABLE.c.state.in_(_FINAL))
            )

    def get(self, id: str) -> Input:  # noqa: A002 - the field's name
        """Return one input; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(select(_TABLE).where(_TABLE.c.id == id)).first()
        if row is None:
            raise NotFound("InputNotFound", f"input {id!r} does not exist: see 'cco describe' of its instance")
        return _to_input(row)

    def list(self, instance: str, limit: int | None = None) -> builtins.list[Input]:
        """Return the inputs of the living instance with that name, oldest first; ``limit`` keeps the newest."""
        query = select(_TABLE).where(_TABLE.c.instance == instance).order_by(_TABLE.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_to_input(row) for row in connection.execute(query)][::-1]

    def pending(self, uid: str) -> builtins.list[Input]:
        """Return what is not final yet, oldest first: ``Pending`` and ``Delivered`` without an acknowledgement."""
        with self._database.read() as connection:
            return [_to_input(row) for row in connection.execute(_PENDING, {"object_uid": uid})]

    def set_state(self, id: str, state: InputState, reason: str | None = None) -> bool:  # noqa: A002 - the field's name
        """Move an input on; ``False`` when it is gone, final already, or in that state with that reason."""
        with self._database.write() as connection:
            row = connection.execute(select(_TABLE).where(_TABLE.c.id == id)).first()
            if row is None or InputState(row.state) in _FINAL or (row.state, row.reason) == (state.value, reason):
                return False
            revision = bump(connection)
            resolved = datetime.now(UTC) if state in _FINAL else None
            connection.execute(
                update(_TABLE).where(_TABLE.c.id == id).values(state=state.value, reason=reason, resolved_at=resolved)
            )
            _touch(connection, row.uid, revision, desired=False)
        return True


def _touch(connection: Connection, uid: str, revision: int, *, desired: bool) -> None:
    table = schema.instances
    values: dict[str, Any] = {"resource_version": revision}
    if desired:
        values["desired_version"] = revision
    connection.execute(update(table).where(table.c.uid == uid).values(values))


def _to_input(row: Row[Any]) -> Input:
    return Input(
        id=row.id,
        instance=row.instance,
        uid=row.uid,
        text=row.text,
        state=InputState(row.state),
        reason=row.reason,
        created_at=row.created_at,
        resolved_at=row.resolved_at,
    )
