"""A database as the first release wrote it, made of today's: its tables and columns, and of every JSON its fields."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

FIRST = "0001"
ADDED_COLUMNS = (
    ("instances", "discard_work"),
    ("repositories", "discard_work"),
    ("installation", "controller_generation"),
    ("installation", "controller"),
)
STATUS = frozenset(
    {
        *("observed_generation", "conditions", "attempt", "restarted_generation", "restarts", "workload", "workspace"),
        *("session", "usage", "last_exit", "failures", "started_at"),
    }
)
SPEC = frozenset(
    {
        *("repository", "branch", "base_branch", "prompt", "model", "permission_mode", "image", "resources", "layout"),
        *("env", "operating_mode", "restart_generation", "restart_policy", "worktree_policy", "args"),
    }
)
RESOURCES = frozenset({"cpus", "memory", "pids"})
ADDED_FILES = ("installation", "repositories", "instances/*/manifest.json", "state.db.mark")
"""What lies beside the database today and did not then."""


def make(database: Path) -> None:
    """Turn the database of an installation that does not run into one of the first release."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for table, column in ADDED_COLUMNS:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        rows = connection.execute("SELECT uid, spec, status FROM instances").fetchall()
        for uid, spec, status in rows:
            wanted, seen = _only(json.loads(spec), SPEC), _only(json.loads(status), STATUS)
            if "resources" in wanted:
                wanted["resources"] = _only(wanted["resources"], RESOURCES)
            written = (json.dumps(wanted), json.dumps(seen), uid)
            connection.execute("UPDATE instances SET spec = ?, status = ? WHERE uid = ?", written)
        connection.execute("UPDATE alembic_version SET version_num = ?", (FIRST,))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for pattern in ADDED_FILES:
        for path in database.parent.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _only(value: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name in names}


def revision(database: Path) -> str:
    """Return the version of the tables."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found)
