"""Alembic migrations. A new one gets the next number; :data:`HEAD` names the newest."""

HEAD = "0003"
KNOWN = frozenset({"0001", "0002", "0003"})
