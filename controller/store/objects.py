"""What instances and repositories have in common: a spec of the user's, a status of the controller's.

Every write is one ``BEGIN IMMEDIATE`` transaction (or part of the caller's, see :meth:`Store.transaction`)
that raises the revision and moves the object to it. Checks come before the first change, so a refused
operation inside a larger transaction leaves nothing behind.
"""

from __future__ import annotations

import builtins
import json
import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Select, Table, bindparam, delete, func, select, update

from controller.errors import AlreadyExists, NotFound, StaleWrite, StoreError, Terminal
from controller.resources import Kind, Metadata

from .applied import Applied, Manifest, Obj, Spec, Status
from .database import Database
from .differences import changed_fields
from .revision import bump
from .selector import Selector
from .tombstones import bury, find_buried


class ObjectStore(Generic[Obj, Spec, Status]):
    """One kind of objects; subclasses say how a row becomes one."""

    kind: ClassVar[Kind]
    spec_type: type[Spec]
    status_type: type[Status]

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self.table = table
        self._by_name = select(table).where(table.c.name == bindparam("object_name"))
        self._by_uid = select(table).where(table.c.uid == bindparam("object_uid"))
        self._insert_row = table.insert()
        self._of_uid = update(table).where(table.c.uid == bindparam("object_uid"))
        self._status_row = select(table.c.status, *self._status_extras()).where(table.c.uid == bindparam("object_uid"))

    # -- reading ------------------------------------------------------------------------------------------

    def get(self, name: str) -> Obj:
        """Return the object of that name; raises NotFound."""
        with self._database.read() as connection:
            return self.decode(self._row(connection, name))

    def get_by_uid(self, uid: str) -> Obj:
        """Return the object with that uid; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(self._by_uid, {"object_uid": uid}).first()
        if row is None:
            raise NotFound(f"{self.kind}NotFound", f"no {self._noun} has the uid {uid}")
        return self.decode(row)

    def list(
        self,
        labels: Mapping[str, str] | Selector | None = None,
        repository: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> builtins.list[Obj]:
        """Return objects in the order of their names.

        Args:
            labels: only those that carry all these labels, or match the selector.
            repository: only instances of that repository.
            limit: at most so many.
            after: only names behind this one (the last of the page before).
        """
        query = select(self.table).order_by(self.table.c.name).limit(limit)
        if labels:
            selector = labels if isinstance(labels, Selector) else Selector.equal(labels)
            query = query.where(*selector.clauses(self.table.c.labels))
        if repository is not None:
            query = self._of_repository(query, repository)
        if after is not None:
            query = query.where(self.table.c.name > after)
        with self._database.read() as connection:
            return [self.decode(row) for row in connection.execute(query)]

    def names(self) -> builtins.list[str]:
        """Return every name, sorted."""
        with self._database.read() as connection:
            return list(connection.scalars(select(self.table.c.name).order_by(self.table.c.name)))

    def buried(self, uids: Collection[str]) -> frozenset[str]:
        """Return those of the uids whose objects are remembered to have been deleted; the oldest are forgotten."""
        with self._database.read() as connection:
            return find_buried(connection, self.kind, uids)

    def count(self, *, deleting: bool = True) -> int:
        """Return how many there are; ``deleting=False`` leaves out those on their way out."""
        query = select(func.count()).select_from(self.table)
        if not deleting:
            query = query.where(self.table.c.deletion_requested_at.is_(None))
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    # -- the user's half ----------------------------------------------------------------------------------

    def create(self, manifest: Manifest[Spec]) -> Obj:
        """Store a new object with a new uid; raises AlreadyExists."""
        made = self._new(manifest)
        with self._database.write() as connection:
            self._check_free(connection, made)
            return self._insert(connection, made)

    def restore(self, known: Obj) -> Obj:
        """Store an object as it was, with its uid, generation and status; raises AlreadyExists."""
        with self._database.write() as connection:
            self._check_free(connection, known)
            return self._insert(connection, known)

    def apply(
        self, manifest: Manifest[Spec], resource_version: int | None = None, *, dry_run: bool = False
    ) -> Applied[Obj]:
        """Create the object or replace its labels and spec; idempotent.

        Args:
            manifest: labels and spec as they shall be; what it leaves out gets its default.
            resource_version: refuse with StaleWrite unless the object is at this version.
            dry_run: check and compute everything, write nothing.
        """
        name = manifest.metadata.name
        with self._database.write() as connection:
            row = connection.execute(self._by_name, {"object_name": name}).first()
            if row is None:
                if resource_version is not None:
                    raise StaleWrite("StaleWrite", f"{self._noun} {name!r} was deleted since you read it")
                made = self._new(manifest)
                self._check_free(connection, made)
                return Applied(made if dry_run else self._insert(connection, made), "created")
            before = self.decode(row)
            self._check_changeable(before, resource_version)
            changed = changed_fields(before, manifest.metadata.labels, manifest.spec)
            if not changed:
                return Applied(before, "unchanged")
            after = self._change(connection, before, manifest.spec, manifest.metadata.labels, dry_run=dry_run)
            return Applied(after, "configured", changed)

    def update_spec(
        self,
        name: str,
        spec: Spec,
        labels: Mapping[str, str] | None = None,
        resource_version: int | None = None,
    ) -> Obj:
        """Replace the spec (and labels, where given); ``generation`` moves only when the spec differs.

        Raises:
            NotFound: no such object.
            StaleWrite: it is not at ``resource_version``.
            StoreError: ``BeingDeleted``.
        """
        with self._database.write() as connection:
            before = self.decode(self._row(connection, name))
            self._check_changeable(before, resource_version)
            wished = before.metadata.labels if labels is None else dict(labels)
            if before.spec == spec and before.metadata.labels == wished:
                return before
            return self._change(connection, before, spec, wished, dry_run=False)

    def request_deletion(self, name: str, uid: str | None = None, *, discard_work: bool = False) -> Obj:
        """Ask for the object to go; asking again changes nothing, except that work may be given up later, too.

        Raises:
            NotFound: no such object.
            StaleWrite: ``UidMismatch``, the name now belongs to another object than the caller meant.
        """
        with self._database.write() as connection:
            before = self.decode(self._row(connection, name))
            if uid is not None and before.metadata.uid != uid:
                raise StaleWrite(
                    "UidMismatch",
                    f"{self._noun} {name!r} has the uid {before.metadata.uid}, not {uid}: it was made anew since "
                    "you looked, so nothing was deleted",
                )
            known = before.metadata
            if known.deletion_requested_at is not None and (known.discard_work or not discard_work):
                return before
            revision = bump(connection)
            update_ = {
                "deletion_requested_at": known.deletion_requested_at or datetime.now(UTC),
                "discard_work": discard_work,
                "resource_version": revision,
            }
            connection.execute(
                update(self.table)
                .where(self.table.c.uid == before.metadata.uid)
                .values(desired_version=revision, **update_)
            )
            return before.model_copy(update={"metadata": before.metadata.model_copy(update=update_)})

    # -- the controller's half ----------------------------------------------------------------------------

    def update_status(self, uid: str, status: Status) -> bool:
        """Replace the status if it differs; never touches spec. ``False`` when the object is gone."""
        text = self._status_json(status)
        with self._database.read() as connection:
            row = connection.execute(self._status_row, {"object_uid": uid}).first()
        if row is None or not self._status_changes(row, text, status):
            return row is not None
        with self._database.write() as connection:
            row = connection.execute(self._status_row, {"object_uid": uid}).first()
            if row is None:
                return False
            if values := self._status_changes(row, text, status):
                values["resource_version"] = bump(connection)
                connection.execute(self._of_uid, {"object_uid": uid, **values})
        return True

    def purge(self, uid: str) -> None:
        """Remove the row, as the last step of the finalizer; an object that is gone already is success.

        Raises:
            StoreError: ``NotBeingDeleted``, nobody asked for it.
        """
        with self._database.write() as connection:
            row = connection.execute(self._by_uid, {"object_uid": uid}).first()
            if row is None:
                return
            if row.deletion_requested_at is None:
                raise StoreError("NotBeingDeleted", f"{self._noun} {row.name!r} has not been asked to go")
            revision = bump(connection)
            last = self.decode(row)
            last = last.model_copy(update={"metadata": last.metadata.model_copy(update={"resource_version": revision})})
            connection.execute(delete(self.table).where(self.table.c.uid == uid))
            bury(
                connection,
                uid=uid,
                kind=self.kind,
                name=row.name,
                revision=revision,
                object_json=last.model_dump_json(),
            )

    # -- rows ---------------------------------------------------------------------------------------------

    def decode(self, row: Row[Any]) -> Obj:
        """Return the row as the resource model.

        Raises:
            Terminal: ``InvalidRecord``, the stored spec or status is not one.
        """
        metadata = Metadata.model_construct(
            name=row.name,
            labels=json.loads(row.labels),
            uid=row.uid,
            generation=row.generation,
            resource_version=row.resource_version,
            created_at=row.created_at,
            deletion_requested_at=row.deletion_requested_at,
            discard_work=row.discard_work,
        )
        try:
            spec = self.spec_type.model_validate_json(row.spec)
            status = self._decode_status(row)
        except ValidationError as error:
            raise self._invalid(row.name, error) from error
        return self._build(metadata, spec, status)

    def parse(self, text: str) -> Obj:
        """Return the object a tombstone holds."""
        raise NotImplementedError

    def _build(self, metadata: Metadata, spec: Spec, status: Status) -> Obj:
        raise NotImplementedError

    def _extra_columns(self, made: Obj) -> dict[str, Any]:
        """Return what this kind stores beside the common columns."""
        del made
        return {}

    def _check_unique(self, connection: Connection, made: Obj) -> None:
        """Refuse an object that collides with another one in more than its name."""

    def _of_repository(self, query: Select[Any], repository: str) -> Select[Any]:
        del repository
        return query

    def _decode_status(self, row: Row[Any]) -> Status:
        return self.status_type.model_validate_json(row.status)

    def _status_json(self, status: Status) -> str:
        return status.model_dump_json()

    def _status_extras(self) -> tuple[Any, ...]:
        return ()

    def _status_changes(self, row: Row[Any], text: str, status: Status) -> dict[str, Any]:
        """Return the columns to write, none when the stored status is equal."""
        del status
        return {} if row.status == text else {"status": text}

    # -- steps --------------------------------------------------------------------------------------------

    @property
    def _noun(self) -> str:
        return self.kind.value.lower()

    def _row(self, connection: Connection, name: str) -> Row[Any]:
        row = connection.execute(self._by_name, {"object_name": name}).first()
        if row is None:
            raise NotFound(f"{self.kind}NotFound", f"{self._noun} {name!r} does not exist")
        return row

    def _new(self, manifest: Manifest[Spec]) -> Obj:
        metadata = Metadata(
            name=manifest.metadata.name,
            labels=manifest.metadata.labels,
            uid=str(uuid.uuid4()),
            created_at=datetime.now(UTC),
        )
        return self._build(metadata, manifest.spec, self.status_type())

    def _check_free(self, connection: Connection, made: Obj) -> None:
        row = connection.execute(self._by_name, {"object_name": made.metadata.name}).first()
        if row is not None:
            state = " and is being deleted" if row.deletion_requested_at is not None else ""
            raise AlreadyExists(
                "AlreadyExists",
                f"{self._noun} {made.metadata.name!r} exists already{state}: choose another name"
                + (" or wait until it is gone" if state else ", or apply to change it"),
            )
        self._check_unique(connection, made)

    def _check_changeable(self, before: Obj, resource_version: int | None) -> None:
        metadata = before.metadata
        if resource_version is not None and metadata.resource_version != resource_version:
            raise StaleWrite(
                "StaleWrite",
                f"{self._noun} {metadata.name!r} is at resource_version {metadata.resource_version}, not "
                f"{resource_version}: somebody changed it since you read it; read it again and repeat your change",
            )
        if metadata.deletion_requested_at is not None:
            raise StoreError(
                "BeingDeleted", f"{self._noun} {metadata.name!r} is being deleted and cannot be changed any more"
            )

    def _insert(self, connection: Connection, made: Obj) -> Obj:
        revision = bump(connection)
        metadata = made.metadata
        connection.execute(
            self._insert_row,
            {
                "uid": metadata.uid,
                "name": metadata.name,
                "labels": json.dumps(metadata.labels),
                "generation": metadata.generation,
                "resource_version": revision,
                "created_version": revision,
                "desired_version": revision,
                "created_at": metadata.created_at,
                "spec": made.spec.model_dump_json(),
                "status": made.status.model_dump_json(),
                **self._extra_columns(made),
            },
        )
        return made.model_copy(update={"metadata": metadata.model_copy(update={"resource_version": revision})})

    def _change(
        self, connection: Connection, before: Obj, spec: Spec, labels: Mapping[str, str], *, dry_run: bool
    ) -> Obj:
        generation = before.metadata.generation + (before.spec != spec)
        update_: dict[str, Any] = {"labels": dict(labels), "generation": generation}
        after = before.model_copy(update={"spec": spec, "metadata": before.metadata.model_copy(update=update_)})
        self._check_unique(connection, after)
        if dry_run:
            return after
        revision = bump(connection)
        connection.execute(
            update(self.table).where(self.table.c.uid == before.metadata.uid),
            {
                "labels": json.dumps(update_["labels"]),
                "generation": generation,
                "spec": spec.model_dump_json(),
                "resource_version": revision,
                "desired_version": revision,
                **self._extra_columns(after),
            },
        )
        return after.model_copy(update={"metadata": after.metadata.model_copy(update={"resource_version": revision})})

    def _invalid(self, name: str, error: ValidationError) -> Terminal:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return Terminal(
            "InvalidRecord",
            f"the database holds a {self._noun} {name!r} that this version cannot read ({where}: {first['msg']}): "
            "use the version that wrote it, or restore a backup",
        )
