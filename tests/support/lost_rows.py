"""Rows that vanish behind the controller's back, as when a database is put back from an older copy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def forget_instance(database: Path, uid: str) -> None:
    """Let the database never have known the instance."""
    with closing(sqlite3.connect(database, timeout=10.0)) as connection:
        connection.execute("DELETE FROM inputs WHERE uid = ?", (uid,))
        assert connection.execute("DELETE FROM instances WHERE uid = ?", (uid,)).rowcount == 1
        connection.commit()
