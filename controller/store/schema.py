"""The tables. ``migrations/`` makes them; a test compares the two.

Only what PostgreSQL has too: JSON columns, plain indices, foreign keys. JSON columns carry text that the
resource models wrote and will read; nobody else looks inside, except for the labels of a selector.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant in UTC; SQLite forgets the zone, so it is put back when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC only."""
        del dialect
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware value whatever the driver gave."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


SequenceNumber = BigInteger().with_variant(Integer, "sqlite")
"""A key the database counts up; SQLite does that for ``INTEGER`` only."""

installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("installation_id", String(36), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("object_revision", BigInteger, nullable=False),
    Column("compacted", BigInteger, nullable=False),
    Column("controller_generation", BigInteger, nullable=False, server_default="0"),
    Column("controller", String(255)),
)
"""One row. Every write raises ``revision`` before it changes anything, which also puts writers in a row on a
server database; ``object_revision`` is its value at the newest write that was more than an event. Changes up to
``compacted`` are no longer completely known. ``controller_generation`` is raised by each controller that begins to
work, ``controller`` says who that was; see ``fence``."""


def _object_columns() -> tuple[Column[object], ...]:
    return (
        Column("uid", String(36), primary_key=True),
        Column("name", String(63), nullable=False, unique=True),
        Column("labels", JSON, nullable=False),
        Column("generation", BigInteger, nullable=False),
        Column("resource_version", BigInteger, nullable=False, index=True),
        Column("created_version", BigInteger, nullable=False),
        Column("desired_version", BigInteger, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("deletion_requested_at", UtcDateTime),
        Column("discard_work", Boolean, nullable=False, server_default=false()),
        Column("spec", JSON, nullable=False),
        Column("status", JSON, nullable=False),
    )


instances = Table(
    "instances",
    metadata,
    *_object_columns(),
    Column("repository", String(63), nullable=False),
    Column("branch", String(255), nullable=False),
    Column("usage", JSON(none_as_null=True)),
    UniqueConstraint("repository", "branch"),
)
"""``repository`` and ``branch`` repeat the spec so that one branch can be given to one instance only."""

repositories = Table("repositories", metadata, *_object_columns())

tombstones = Table(
    "tombstones",
    metadata,
    Column("uid", String(36), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("name", String(63), nullable=False),
    Column("resource_version", BigInteger, nullable=False, index=True),
    Column("object", JSON, nullable=False),
)
"""The last form of deleted objects; bounded, see ``changes``."""

inputs = Table(
    "inputs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("instance", String(63), nullable=False),
    Column("uid", String(36), ForeignKey("instances.uid", ondelete="CASCADE"), nullable=False),
    Column("text", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("resolved_at", UtcDateTime),
    Index(None, "uid", "id"),
)

events = Table(
    "events",
    metadata,
    Column("id", SequenceNumber, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("name", String(63), nullable=False),
    Column("uid", String(36), nullable=False),
    Column("type", String(16), nullable=False),
    Column("reason", String(128), nullable=False),
    Column("message", Text, nullable=False),
    Column("occurrences", Integer, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("resource_version", BigInteger, nullable=False, index=True),
    Index(None, "uid", "id"),
    Index(None, "kind", "name", "resource_version"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("result", String(63), nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)
"""What a repeated POST was answered with the first time."""
