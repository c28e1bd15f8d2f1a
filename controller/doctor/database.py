"""The database file, looked at by SQLite alone: this works where the store refuses to open it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from controller.resources.quantity import format_bytes

from .examination import Finding, failed, notable, unknown, well

LARGE_BYTES = 1024**3
LARGE_WAL_BYTES = 64 * 1024**2
_MAX_PROBLEMS = 3


def examine_database(path: Path) -> Finding | None:
    """Judge the file's structure, without writing to it; ``None`` where nothing has been made yet.

    Without a ``-wal`` file nobody has it open, and it is read as something that cannot change; with one, SQLite's own
    locks are needed to see a whole moment.
    """
    try:
        if not path.exists():
            return _absent(path)
        mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        uri = f"file:{quote(str(path))}?{mode}"
        with closing(sqlite3.connect(uri, uri=True, timeout=2.0)) as connection:
            rows = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({_MAX_PROBLEMS})")]
    except OSError as error:
        return unknown(f"{path} cannot be looked at: {error.strerror}")
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith("SQLITE_CORRUPT") or name == "SQLITE_NOTADB":
            return damaged(path, str(error))
        return unknown(f"{path} cannot be read ({error}): run as the user that owns it")
    if rows != ["ok"]:
        return damaged(path, "; ".join(" ".join(row.split()) for row in rows))
    return well(f"{path} is sound")


def examine_size(path: Path) -> Finding | None:
    """Judge the sizes of the file and of its write-ahead log; ``None`` where nothing has been made yet."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        return unknown(f"{path} cannot be looked at: {error.strerror}")
    try:
        log = path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        log = 0
    message = f"{_short(size)}, write-ahead log {_short(log)}"
    if log > LARGE_WAL_BYTES:
        return notable(f"{message}: some program keeps a reading transaction open; restart the server")
    if size > LARGE_BYTES:
        return notable(f"{message}: that is much for what it holds; delete instances that are not needed any more")
    return well(message)


def _absent(path: Path) -> Finding | None:
    if path.with_name("installation").exists():
        return failed(
            f"{path} is gone, although there was one: restore it from a backup, or use 'python -m controller rebuild'"
        )
    return None


def damaged(path: Path, detail: str) -> Finding:
    """Return that the file is damaged, in SQLite's words."""
    return failed(
        f"{path} is damaged ({detail[:300]}): stop cc-orchestrator and restore the file from a backup, or put back "
        "what is known with 'python -m controller rebuild'; worktrees, branches and containers are not touched by this"
    )


def _short(size: int) -> str:
    return format_bytes(size // 1024 * 1024)
