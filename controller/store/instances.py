"""Instances in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select, update

from controller.errors import AlreadyExists
from controller.resources import Instance, InstanceSpec, InstanceStatus, Kind, Metadata, Usage

from . import schema
from .database import Database
from .objects import ObjectStore
from .revision import bump

_TABLE = schema.instances
_OWNER_OF_BRANCH = select(_TABLE.c.name).where(
    _TABLE.c.repository == bindparam("wanted_repository"),
    _TABLE.c.branch == bindparam("wanted_branch"),
    _TABLE.c.uid != bindparam("object_uid"),
)
_NAME = select(_TABLE.c.name).where(_TABLE.c.uid == bindparam("object_uid"))


class InstanceStore(ObjectStore[Instance, InstanceSpec, InstanceStatus]):
    """See :class:`ObjectStore`. One branch of one repository belongs to at most one instance."""

    kind = Kind.INSTANCE
    spec_type = InstanceSpec
    status_type = InstanceStatus

    def __init__(self, database: Database) -> None:
        super().__init__(database, _TABLE)

    def name_of(self, uid: str) -> str | None:
        """Return the name of the instance with that uid, ``None`` when there is none."""
        with self._database.read() as connection:
            name: str | None = connection.scalar(_NAME, {"object_uid": uid})
        return name

    def record_usage(self, usage: Mapping[str, Usage]) -> None:
        """Store the newest usage by uid: one transaction and one revision for all; unknown uids are ignored."""
        with self._database.write() as connection:
            known = select(_TABLE.c.uid).where(_TABLE.c.uid.in_(usage))
            living = frozenset(connection.scalars(known))
            if not living:
                return
            revision = bump(connection)
            connection.execute(
                update(_TABLE)
                .where(_TABLE.c.uid == bindparam("object_uid"))
                .values(usage=bindparam("new_usage"), resource_version=revision),
                [
                    {"object_uid": uid, "new_usage": value.model_dump_json()}
                    for uid, value in usage.items()
                    if uid in living
                ],
            )

    def parse(self, text: str) -> Instance:
        """Return the instance a tombstone holds."""
        return Instance.model_validate_json(text)

    def _build(self, metadata: Metadata, spec: InstanceSpec, status: InstanceStatus) -> Instance:
        return Instance.model_construct(metadata=metadata, spec=spec, status=status)

    def _extra_columns(self, made: Instance) -> dict[str, Any]:
        return {"repository": made.spec.repository, "branch": made.branch}

    def _check_unique(self, connection: Connection, made: Instance) -> None:
        wanted = {
            "wanted_repository": made.spec.repository,
            "wanted_branch": made.branch,
            "object_uid": made.metadata.uid,
        }
        other = connection.scalar(_OWNER_OF_BRANCH, wanted)
        if other is not None:
            raise AlreadyExists(
                "BranchInUse",
                f"spec.branch: {made.branch!r} of repository {made.spec.repository!r} belongs to instance {other!r}: "
                "choose another branch, or delete that instance first (its commits stay on the branch)",
            )

    def _of_repository(self, query: Select[Any], repository: str) -> Select[Any]:
        return query.where(_TABLE.c.repository == repository)

    # Usage has its own column: it is written every few seconds by another hand than the rest of the status.

    def _decode_status(self, row: Row[Any]) -> InstanceStatus:
        status = InstanceStatus.model_validate_json(row.status)
        if row.usage is None:
            return status
        return status.model_copy(update={"usage": Usage.model_validate_json(row.usage)})

    def _status_json(self, status: InstanceStatus) -> str:
        return status.model_dump_json(exclude={"usage"})

    def _status_extras(self) -> tuple[Any, ...]:
        return (_TABLE.c.usage,)

    def _status_changes(self, row: Row[Any], text: str, status: InstanceStatus) -> dict[str, Any]:
        values: dict[str, Any] = {} if row.status == text else {"status": text}
        stored = None if row.usage is None else Usage.model_validate_json(row.usage)
        # A pass that began before the newest measurement must not put an older one back.
        if status.usage != stored and (status.usage is None or stored is None or status.usage.at > stored.at):
            values["usage"] = None if status.usage is None else status.usage.model_dump_json()
        return values
