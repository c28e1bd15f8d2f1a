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
from .high_water import EMPTY, MARGIN, mark_path
from .installation import check_not_lost, check_same, create_private, known_installation, remember_installation
from .migrations import HEAD, KNOWN
from .revision import jump, look

logger = logging.getLogger(__name__)

LOCK_SECONDS = 60.0

COPY_INFIX = ".before-"
"""Between the database's name and the schema it was about to be migrated to: the name of a copy."""

MAX_COPIES = 3


def open_database(path: Path, *, identity: str | None = None) -> Database:
    """Make or check the file and bring its schema up to date; idempotent, safe to run in many processes.

    Args:
        path: of the file.
        identity: the installation's id, for a database that is made anew for an old installation.

    Raises:
        Terminal: ``DatabaseCorrupt``, ``DatabaseNewer``, ``DatabaseForeign``, ``DatabaseMissing``,
            ``InstallationMismatch`` or ``DatabaseUnreadable``; the file was not changed.
        Retryable: another process holds the lock for a minute, or the disk is full.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            if identity is None:
                check_not_lost(path)
            create_private(path)
            return _prepare(path, identity or known_installation(path))
    except OSError as error:
        raise Terminal("DatabaseUnreadable", f"{path}: {error.strerror}: check its folder's owner and mode") from error


def _prepare(path: Path, identity: str | None) -> Database:
    database = Database(path)
    try:
        _check_health(database)
        with database.read() as connection:
            version = _check_version(path, connection)
            if version is not None:
                check_same(path, str(connection.scalar(select(schema.installation.c.installation_id))))
        if version not in {None, HEAD}:
            _keep_copy(database)
        _use_wal(database)
        if not mark_path(path).exists():
            create_private(mark_path(path))
            mark_path(path).write_bytes(EMPTY)
        with database.write() as connection:
            _upgrade(path, connection)
            found = _ensure_installation(connection, identity)
            _catch_up(database, connection)
        remember_installation(path, found)
    except BaseException:
        database.close()
        raise
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


def _check_version(path: Path, connection: Connection) -> str | None:
    """Return the schema's version, ``None`` for an empty file; refuse what this program does not know."""
    tables = set(inspect(connection).get_table_names())
    version = None
    if "alembic_version" in tables:
        version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if version is None and tables - {"alembic_version"}:
        raise Terminal("DatabaseForeign", f"{path} is a database of another program: choose another state_dir")
    if version is not None and version not in KNOWN:
        raise Terminal(
            "DatabaseNewer",
            f"{path} was written by a newer cc-orchestrator (schema {version}, this one knows up to {HEAD}): "
            f"install that version again, or put back the copy made before the upgrade ({path}{COPY_INFIX}...)",
        )
    return version


def _upgrade(path: Path, connection: Connection) -> None:
    version = _check_version(path, connection)
    if version == HEAD:
        return
    _run_alembic(connection)
    logger.info("database migrated", extra={"cco_from": version, "cco_to": HEAD})


def _keep_copy(database: Database) -> None:
    """Keep the database as it is before it is migrated, and forget the oldest of too many copies."""
    path = database.path
    database.backup_to(path.with_name(f"{path.name}{COPY_INFIX}{HEAD}"))
    copies = sorted(path.parent.glob(f"{path.name}{COPY_INFIX}*"))
    for old in copies[:-MAX_COPIES]:
        old.unlink(missing_ok=True)


def _catch_up(database: Database, connection: Connection) -> None:
    """Let a copy of an older day go on counting where the lost days ended, so that no number is given out twice."""
    mark = database.high_water.read()
    known = look(connection)
    if mark.revision <= known.current:
        return
    jump(connection, mark.revision + MARGIN)
    logger.warning(
        "database is older than what was known: watchers have to list again",
        extra={"cco_revision": known.current, "cco_was": mark.revision},
    )


def _run_alembic(connection: Connection) -> None:
    # Imported here because it is needed once per upgrade and costs more than opening the database.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _ensure_installation(connection: Connection, identity: str | None) -> str:
    table = schema.installation
    found = connection.scalar(select(table.c.installation_id))
    if found is None:
        found = identity or str(uuid.uuid4())
        connection.execute(
            table.insert().values(id=1, installation_id=found, revision=0, object_revision=0, compacted=0)
        )
    return str(found)


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
