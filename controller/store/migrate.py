"""What happens before the first query: the file, its lock, its health, its schema version.

Several processes may open the same database at the same time; a file lock makes one of them do the work.
The lock is advisory (flock) and vanishes with its holder, however that ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text

from controller.errors import Retryable, Terminal

from . import schema
from .database import Database, corrupt
from .migrations import HEAD, KNOWN

logger = logging.getLogger(__name__)

LOCK_SECONDS = 60.0


def open_database(path: Path) -> Database:
    """Make or check the file and bring its schema up to date; idempotent, safe to run in many processes.

    Raises:
        Terminal: ``DatabaseCorrupt``, ``DatabaseNewer``, ``DatabaseForeign``, ``DatabaseMissing`` or
            ``DatabaseUnreadable``; the file was not changed.
        Retryable: another process holds the lock for a minute, or the disk is full.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            _ensure_file(path)
            return _prepare(path)
    except OSError as error:
        raise Terminal("DatabaseUnreadable", f"{path}: {error.strerror}: check its folder's owner and mode") from error


def _prepare(path: Path) -> Database:
    database = Database(path)
    try:
        _check_health(database)
        _use_wal(database)
        with database.write() as connection:
            _upgrade(path, connection)
            identity = _ensure_installation(connection)
    except BaseException:
        database.close()
        raise
    _remember(_marker(path), identity)
    return database


def _check_health(database: Database) -> None:
    with database.read() as connection:
        problem = connection.scalar(text("PRAGMA quick_check(1)"))
    if problem != "ok":
        raise corrupt(database.path, str(problem))


def _use_wal(database: Database) -> None:
    mode = database.use_wal()
    if mode != "wal":
        raise Terminal(
            "DatabaseUnreadable",
            f"{database.path} is on a file system that cannot share memory between processes (journal mode "
            f"{mode!r} instead of 'wal'): put state_dir on a local disk",
        )


def _upgrade(path: Path, connection: Connection) -> None:
    tables = set(inspect(connection).get_table_names())
    version = None
    if "alembic_version" in tables:
        version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if version == HEAD:
        return
    if version is None and tables - {"alembic_version"}:
        raise Terminal("DatabaseForeign", f"{path} is a database of another program: choose another state_dir")
    if version is not None and version not in KNOWN:
        raise Terminal(
            "DatabaseNewer",
            f"{path} was written by a newer cc-orchestrator (schema {version}, this one knows up to {HEAD}): "
            "install that version again, or restore the backup made before the upgrade",
        )
    _run_alembic(connection)
    logger.info("database migrated", extra={"cco_from": version, "cco_to": HEAD})


def _run_alembic(connection: Connection) -> None:
    # Imported here because it is needed once per upgrade and costs more than opening the database.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _ensure_installation(connection: Connection) -> str:
    table = schema.installation
    identity = connection.scalar(select(table.c.installation_id))
    if identity is None:
        identity = str(uuid.uuid4())
        connection.execute(
            table.insert().values(id=1, installation_id=identity, revision=0, object_revision=0, compacted=0)
        )
    return str(identity)


def _marker(path: Path) -> Path:
    """Remembers that the database existed, so that a vanished file is not mistaken for a first start."""
    return path.with_name(f"{path.name}.id")


def _remember(marker: Path, identity: str) -> None:
    create_private(marker)
    if marker.read_text(encoding="utf-8", errors="replace").strip() != identity:
        marker.write_text(identity + "\n", encoding="ascii")


def _ensure_file(path: Path) -> None:
    marker = _marker(path)
    if marker.exists() and (not path.exists() or path.stat().st_size == 0):
        raise Terminal(
            "DatabaseMissing",
            f"{path} is gone or empty although it existed before; nothing was touched. Restore it from a "
            f"backup, or delete {marker} to begin with an empty database (containers that still run are then "
            "no longer known)",
        )
    create_private(path)


def create_private(path: Path) -> None:
    """Make the file with mode 0600 if it is not there, owned by its folder's owner where we are root."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        folder = path.parent.stat()
        if os.geteuid() == 0 and folder.st_uid != os.fstat(descriptor).st_uid:
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = path.with_name(f"{path.name}.lock")
    create_private(lock)
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Retryable(
                        "DatabaseLocked", f"another process has been preparing {path} for {LOCK_SECONDS:.0f} s"
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
