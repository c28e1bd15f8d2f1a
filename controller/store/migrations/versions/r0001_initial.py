"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _object_columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("created_version", sa.BigInteger, nullable=False),
        sa.Column("desired_version", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deletion_requested_at", sa.DateTime(timezone=True)),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("status", sa.JSON, nullable=False),
    )


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("installation_id", sa.String(36), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("object_revision", sa.BigInteger, nullable=False),
        sa.Column("compacted", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_installation"),
    )
    op.create_table(
        "instances",
        *_object_columns(),
        sa.Column("repository", sa.String(63), nullable=False),
        sa.Column("branch", sa.String(255), nullable=False),
        sa.Column("usage", sa.JSON),
        sa.PrimaryKeyConstraint("uid", name="pk_instances"),
        sa.UniqueConstraint("name", name="uq_instances_name"),
        sa.UniqueConstraint("repository", "branch", name="uq_instances_repository_branch"),
    )
    op.create_index("ix_instances_resource_version", "instances", ["resource_version"])
    op.create_table(
        "repositories",
        *_object_columns(),
        sa.PrimaryKeyConstraint("uid", name="pk_repositories"),
        sa.UniqueConstraint("name", name="uq_repositories_name"),
    )
    op.create_index("ix_repositories_resource_version", "repositories", ["resource_version"])
    _create_histories()


def _create_histories() -> None:
    op.create_table(
        "tombstones",
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("object", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_tombstones"),
    )
    op.create_index("ix_tombstones_resource_version", "tombstones", ["resource_version"])
    op.create_table(
        "inputs",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("instance", sa.String(63), nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_inputs"),
        sa.ForeignKeyConstraint(["uid"], ["instances.uid"], name="fk_inputs_uid", ondelete="CASCADE"),
    )
    op.create_index("ix_inputs_uid_id", "inputs", ["uid", "id"])
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(128), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("occurrences", sa.Integer, nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_resource_version", "events", ["resource_version"])
    op.create_index("ix_events_uid_id", "events", ["uid", "id"])
    op.create_index("ix_events_kind_name_resource_version", "events", ["kind", "name", "resource_version"])
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("result", sa.String(63), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
