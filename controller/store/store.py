"""The store: every declared object, in one SQLite file that API and controller share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import select

from controller.errors import Terminal
from controller.resources import Kind

from . import schema
from .changes import AnyStore, Change, EventChange, Wishes, read_changes, read_events, read_wishes
from .database import Database
from .events import EventStore
from .idempotency import IdempotencyStore
from .inputs import InputStore
from .instances import InstanceStore
from .integrity import Integrity, examine
from .migrate import open_database
from .repositories import RepositoryStore
from .revision import Revisions, look


class Store:
    """Open it with :meth:`open`; safe to use from many threads, and many processes may have it open.

    Attributes:
        installation_id: a UUID made with the database; labels what belongs to this installation.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.instances = InstanceStore(database)
        self.repositories = RepositoryStore(database)
        self.events = EventStore(database)
        self.inputs = InputStore(database)
        self.idempotency = IdempotencyStore(database)
        with database.read() as connection:
            self.installation_id = str(connection.scalar(select(schema.installation.c.installation_id)))

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the database, making or migrating it first; see :func:`~.migrate.open_database` for errors."""
        return cls(open_database(path))

    @classmethod
    def make(cls, path: Path, installation_id: str) -> Store:
        """Make a database anew for an installation that lost its own; nothing may be at ``path``."""
        return cls(open_database(path, identity=installation_id))

    def close(self) -> None:
        """Release waiters and connections; idempotent."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called; nobody is kept waiting then."""
        return self._database.signal.closed

    def claim(self, holder: str, lost: Callable[[Terminal], object] | None = None) -> int:
        """Become the one controller that may write through its store; everyone who claimed before is fenced.

        Args:
            holder: who claims, for people.
            lost: called, once or more and from any thread, as soon as this store notices that somebody else has
                claimed since, or that its file was replaced; the error is raised as well.

        Returns the generation of the claim, which only ever grows.

        Raises:
            Retryable: ``DatabaseLocked`` or ``DiskFull``; nothing was claimed.
        """
        fence, mark = self._database.fence, self._database.high_water
        with self._database.write() as connection:
            generation = fence.raise_generation(connection, holder, mark.read().generation)
        mark.raise_to(generation=generation)
        fence.stand_behind(generation, lost)
        return generation

    def check_fence(self) -> None:
        """Make sure, by one cheap read, that nobody has claimed since; call it before every act on the world.

        A store that never claimed always passes.

        Raises:
            Fenced: somebody has; nothing more may be done.
        """
        self._database.check_fence()

    def integrity(self) -> Integrity:
        """Examine the whole file; reads all of it, so ask when a person does, not on a timer."""
        with self._database.read() as connection:
            return examine(connection)

    def backup_to(self, target: Path) -> None:
        """Write a copy of the database as of one moment; see :meth:`.database.Database.backup_to`."""
        self._database.backup_to(target)

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """Make everything this thread does in the block one transaction: all or nothing, alone among writers.

        Keep it short and free of other I/O: every other writer waits. ``keep=False`` takes everything back at the
        end, for dry runs.
        """
        with self._database.write() as connection:
            yield
            if not keep:
                connection.rollback()

    def stamp(self) -> int | None:
        """Return a number that is another one after each commit, by whichever process; costs microseconds.

        What was read after taking it is what is there as long as it is the same. ``None`` = it cannot be told now.

        Raises:
            Terminal: ``DatabaseReplaced``.
        """
        self._database.check_identity()
        return self._database.signal.look()

    def revision(self) -> int:
        """Return the newest ``resource_version``. Take it before a list, then watch from it: nothing is missed."""
        with self._database.read() as connection:
            return look(connection).current

    def wait(self, after: int, timeout: float, *, events: bool = False) -> int:
        """Block until an object changed beyond ``after`` (by whichever process), or ``timeout`` seconds passed.

        Args:
            after: a revision.
            timeout: seconds.
            events: a new event is reason enough, too.

        Returns the revision of that newest change, or ``after`` itself when there is nothing to do. A lower one is
        returned at once when the database is *behind* ``after`` (another one than the caller thinks;
        :meth:`changes` then raises RevisionGone). A closed store keeps nobody waiting.
        """
        deadline = time.monotonic() + timeout
        while True:
            token = self._database.signal.token
            known = self._revisions()
            newest = known.current if events else known.objects
            if newest > after:
                return newest
            if known.current < after:
                return known.current
            if not self._database.signal.wait(token, deadline):
                return after

    def _revisions(self) -> Revisions:
        self._database.check_identity()
        known = self._database.signal.revisions()
        if known is not None:
            return known
        with self._database.read() as connection:
            return look(connection)

    def changes(self, after: int, limit: int | None = None) -> list[Change]:
        """Return the newest change of every object that changed since ``after``, in order.

        Args:
            after: a revision; go on with the ``resource_version`` of the last change returned.
            limit: about so many at most (a batch that shares one revision is never split). ``ADDED`` is exact only
                without a limit, because it is relative to ``after``.

        Raises:
            RevisionGone: too far back, or from another database: list again.
        """
        with self._database.read() as connection:
            return read_changes(connection, (self.instances, self.repositories), after, limit)

    def wishes(self, kind: Kind, after: int) -> Wishes:
        """Return the names of the objects of a kind of which a user wants something else since ``after``, in order.

        A fraction of the cost of :meth:`changes`, for the loop, which is not to be woken by what it writes itself.

        Raises:
            RevisionGone: see :meth:`changes`.
        """
        store: AnyStore = self.instances if kind is Kind.INSTANCE else self.repositories
        with self._database.read() as connection:
            return read_wishes(connection, store, after)

    def feed(self, after: int) -> list[Change | EventChange]:
        """Return what :meth:`changes` does and the events since, as of one moment, in order."""
        with self._database.read() as connection:
            found: list[Change | EventChange] = []
            found += read_changes(connection, (self.instances, self.repositories), after)
            found += read_events(connection, after)
        found.sort(key=lambda change: change.resource_version)
        return found
