"""Connections, transactions and errors of the database: the one place that knows it is SQLite.

Everything above speaks SQLAlchemy Core that PostgreSQL would understand too. What differs is here: how a
writing transaction begins, how one notices that another process wrote (:class:`Signal`), which driver error
means what, and the file itself.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from controller.errors import CcoError, Retryable, Terminal

from .fence import GENERATION, Fence
from .high_water import HighWater
from .installation import create_private
from .line import Line
from .revision import Revisions, bumped, forget_bump

BUSY_SECONDS = 5.0
"""How long a writer waits for another one before it gives up with ``DatabaseLocked``."""

KEPT_CONNECTIONS = 5
"""Each holds three open files and up to 2 MiB of pages; what a crowd needs beyond that is closed after it."""

POLL_SECONDS = 0.02
"""How often a waiter looks whether another process wrote."""

SYNCHRONOUS = "FULL"
"""A commit is on the disk before anybody sees it, on every connection, so that a power cut takes nothing back.

What the API acknowledges needs that, and what the controller writes, too: nearly each of its writes raises the
revision, which watchers are told and which must not be given to something else later, and some of them foretell an
act, so that they have to be there when it is. With ``NORMAL``, which is for WAL, the newest commits could go.
"""

_BEGIN = "cco_begin"
_REVISIONS = "SELECT revision, object_revision, compacted FROM installation"


def _text(value: str) -> str:
    """JSON columns carry text made and read by the resource models; nothing is left to do here."""
    return value


class Database:
    """A SQLite file in WAL mode, shared by threads and processes.

    Writers of one process stand in line at a lock, so that SQLite's own waiting (by sleeping) only ever
    happens between processes. Readers wait for nobody.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity = _identity(path)
        self._line = Line()
        self._local = threading.local()
        self._engine = create_engine(
            f"sqlite:///{path}",
            poolclass=QueuePool,
            pool_size=KEPT_CONNECTIONS,
            max_overflow=64 - KEPT_CONNECTIONS,
            pool_timeout=10,
            pool_use_lifo=True,  # the one that was used last has what is needed in its cache
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
            json_serializer=_text,
            json_deserializer=_text,
        )
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "begin", _on_begin)
        event.listen(self._engine, "rollback", forget_bump)
        self._writing = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self.signal = Signal(path)
        self.fence = Fence()
        self.high_water = HighWater(path)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one moment of the database; inside :meth:`write`, that transaction."""
        active: Connection | None = getattr(self._local, "connection", None)
        if active is not None:
            yield active
            return
        self.check_identity()
        with translated(self.path), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a writing transaction; nested calls of one thread are one transaction.

        Committed when the outermost block ends, rolled back when it raises.

        Raises:
            Retryable: ``DatabaseLocked`` or ``DiskFull``; nothing was written.
            Fenced: another controller has claimed the database since this one did.
            Terminal: the file is damaged, unreadable or was replaced.
        """
        active: Connection | None = getattr(self._local, "connection", None)
        if active is not None:
            yield active
            return
        self.check_identity()
        try:
            self._line.enter(BUSY_SECONDS)
        except TimeoutError:
            raise _locked(self.path) from None
        try:
            with translated(self.path), self._writing.begin() as connection:
                self._line.obtained()
                self.fence.check(connection)
                self._local.connection = connection
                try:
                    yield connection
                finally:
                    self._local.connection = None
                revision = bumped(connection)
            self.high_water.raise_to(revision=revision)
        finally:
            self._line.leave()
        self.signal.moved_here()

    def check_fence(self) -> None:
        """Compare with the newest claim outside of a transaction; see :meth:`Fence.check` for what it raises."""
        self.check_identity()
        if self.fence.generation is not None and self.signal.generation() == self.fence.generation:
            return
        with self.read() as connection:
            self.fence.check(connection)

    def use_wal(self) -> str:
        """Switch the file to write-ahead logging, which it stays in; return the mode it is in now."""
        with translated(self.path), closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode = WAL")
            row = cursor.fetchone()
            return "unknown" if row is None else str(row[0])

    def backup_to(self, target: Path) -> None:
        """Write a copy of the database as of one moment, mode 0600, in one file; the target is replaced atomically.

        Nobody is kept waiting: readers and writers go on meanwhile.

        Raises:
            Retryable: ``DiskFull`` or ``DatabaseLocked``; there is no half a copy.
            Terminal: ``DatabaseUnreadable``.
        """
        made = target.with_name(f".{target.name}.new")
        made.unlink(missing_ok=True)
        create_private(made)
        try:
            with (
                translated(target),
                closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as source,
                closing(sqlite3.connect(made)) as copy,
            ):
                source.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # no second file that could be forgotten
            made.replace(target)
        finally:
            made.unlink(missing_ok=True)

    def close(self) -> None:
        """Wake every waiter and close every connection."""
        self.signal.close()
        self._engine.dispose()
        self.high_water.close()

    def check_identity(self) -> None:
        """Make sure that the file is still the one that was opened.

        Raises:
            Terminal: ``DatabaseReplaced``.
        """
        if _identity(self.path) != self._identity:
            error = Terminal(
                "DatabaseReplaced",
                f"{self.path} was removed or replaced while in use, so nothing more is read or written: "
                "restart cc-orchestrator (restore the file first if it is gone)",
            )
            self.fence.lose(error)
            raise error


class Signal:
    """Tells waiters that something was committed, by this process or by another one.

    Within the process a condition wakes them at once. Other processes are noticed by polling SQLite's
    ``data_version``, which costs microseconds because it reads shared memory only.
    """

    def __init__(self, path: Path) -> None:
        self._condition = threading.Condition()
        self._polling = False
        self._token = 0
        self._path = path
        self.closed = False
        with translated(path):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.1)
            self._data_version = self._read()

    @property
    def token(self) -> int:
        """Changes with every commit; take it before looking, then :meth:`wait` for it to change."""
        return self._token

    def look(self) -> int | None:
        """Return a number that is another one after each commit of anybody; ``None`` when that cannot be told."""
        with self._condition:
            if self.closed:
                return None
            self._poll()
            return None if self._data_version < 0 else self._token

    def revisions(self) -> Revisions | None:
        """Return the counter as it is now, at a tenth of SQLAlchemy's cost: waiters ask at each commit.

        ``None`` after close.

        Raises:
            Retryable, Terminal: see :func:`explain`.
        """
        with self._condition, translated(self._path):
            return None if self.closed else Revisions(*self._connection.execute(_REVISIONS).fetchone())

    def generation(self) -> int | None:
        """Return that of the newest claim (see ``fence``), as cheaply; ``None`` when it cannot be told now."""
        with self._condition:
            return None if self.closed else self._ask(GENERATION)

    def moved_here(self) -> None:
        """Wake the waiters of this process."""
        with self._condition:
            self._token += 1
            self._condition.notify_all()

    def wait(self, token: int, deadline: float) -> bool:
        """Block until the token is another one; ``False`` at the deadline (monotonic clock) or after close."""
        with self._condition:
            try:
                while self._token == token and not self.closed:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    self._wait(left)
                return not self.closed
            finally:
                self._condition.notify()  # whoever looked for all leaves that to another one

    def _wait(self, seconds: float) -> None:
        """Wait to be woken. One of all who wait looks whether another process wrote, and wakes the others."""
        if self._polling:
            self._condition.wait(seconds)
            return
        self._polling = True
        try:
            if not self._condition.wait(min(seconds, POLL_SECONDS)):
                self._poll()
        finally:
            self._polling = False

    def close(self) -> None:
        """Let every waiter go."""
        with self._condition:
            self.closed = True
            self._connection.close()
            self._condition.notify_all()

    def _poll(self) -> None:
        if self.closed:
            return
        version = self._read()
        if version != self._data_version:
            self._data_version = version
            self._token += 1
            self._condition.notify_all()

    def _read(self) -> int:
        version = self._ask("PRAGMA data_version")
        return -1 if version is None else version

    def _ask(self, question: str) -> int | None:
        try:
            row = self._connection.execute(question).fetchone()
        except sqlite3.DatabaseError:
            return None  # a look that failed is a reason to look properly, never a reason to stay asleep
        return int(row[0])


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the driver's errors into the loop's two words; see :func:`explain`."""
    try:
        yield
    except exc.TimeoutError as error:
        raise Retryable("DatabaseBusy", "all database connections are in use: try again in a moment") from error
    except exc.DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise explain(path, error.orig) from error
        raise
    except sqlite3.Error as error:
        raise explain(path, error) from error


def explain(path: Path, error: sqlite3.Error) -> CcoError:
    """Return what a driver error means for people. Names: https://www.sqlite.org/rescode.html."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _locked(path)
    if name in {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"}:
        return Retryable(
            "DiskFull",
            f"the disk that holds {path} is full, so nothing was written: free some space; reading still works",
            delay=10.0,
        )
    if name.startswith("SQLITE_CORRUPT") or name == "SQLITE_NOTADB":
        return corrupt(path, str(error))
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY", "SQLITE_AUTH", "SQLITE_IOERR")):
        return Terminal(
            "DatabaseUnreadable",
            f"{path} cannot be opened for reading and writing ({error}): check that the file and its folder "
            f"belong to the user that runs cc-orchestrator (uid {os.geteuid()})",
        )
    return Terminal("DatabaseError", f"{path}: {error} ({name or type(error).__name__})")


def corrupt(path: Path, detail: str) -> Terminal:
    """Return the error for a damaged file."""
    return Terminal(
        "DatabaseCorrupt",
        f"{path} is damaged ({' '.join(detail.split())}); nothing was touched. Restore it from a backup, or put back "
        "what is known without it: 'python -m controller rebuild' (it keeps the damaged files)",
    )


def _locked(path: Path) -> Retryable:
    return Retryable(
        "DatabaseLocked",
        f"{path} is locked by another program and stayed so for up to {BUSY_SECONDS:.0f} s, so nothing was written: "
        "try again",
        delay=1.0,
    )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN below is the only one
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    cursor.execute("PRAGMA journal_size_limit = 16777216")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
