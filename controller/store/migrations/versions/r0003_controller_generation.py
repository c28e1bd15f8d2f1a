"""Which controller may write: its generation, and who it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; nobody has claimed the database so far."""
    op.add_column("installation", sa.Column("controller_generation", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("installation", sa.Column("controller", sa.String(255)))
