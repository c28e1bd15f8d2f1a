"""Whether whoever asked for a deletion also gave up work that cannot be saved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; nobody has given anything up so far."""
    for table in ("instances", "repositories"):
        op.add_column(table, sa.Column("discard_work", sa.Boolean, nullable=False, server_default=sa.false()))
