"""The real store, with a pause before every call: where a controller may be overtaken, killed, or told "locked"."""

# ruff: noqa: ANN401  # a proxy passes on whatever is asked

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from controller.errors import CcoError, NotFound, Retryable
from controller.resources import Kind
from controller.store import Store

from .simulated_threads import Schedule

PARTS = frozenset({"instances", "repositories", "inputs", "events"})
READS = frozenset({"get", "get_by_uid", "list", "name_of", "names", "count", "pending", "wishes", "revision"})


def locked() -> CcoError:
    """Return what the store raises when another program holds the database for too long."""
    return Retryable("DatabaseLocked", "another program writes: a test says so", delay=1.0)


class SteppedStore:
    """Has the store's own surface.

    Attributes:
        failures: errors for the next writes of a simulated thread, each raised once.
        failed_at: when that last happened.
        calls: writes of simulated threads, in order.
        watch: called with each write and its positional arguments when it is done.
        log_is_gone: the next look at the change log is told that it does not reach back so far.
    """

    def __init__(self, store: Store, schedule: Schedule) -> None:
        self.store = store
        self.failures: list[CcoError] = []
        self.failed_at = -math.inf
        self.calls: list[str] = []
        self._known: dict[tuple[object, ...], Any] = {}
        self._known_at = -1
        self.watch: Callable[[str, tuple[object, ...]], None] | None = None
        self.log_is_gone = False
        self._schedule = schedule
        self._parts = {name: _Part(getattr(store, name), name, self) for name in PARTS}

    @property
    def writes(self) -> int:
        """A number that moves with every commit of this process."""
        return self.store._database.signal.token  # noqa: SLF001  # what the store's own waiters look at

    @classmethod
    def around(cls, store: Store, schedule: Schedule) -> tuple[Store, SteppedStore]:
        """Return it twice: as what the product takes it for, and as what it is."""
        made = cls(store, schedule)
        return cast("Store", made), made

    def __getattr__(self, name: str) -> Any:
        if name in PARTS:
            return self._parts[name]
        return getattr(self.store, name)

    def wait(self, after: int, timeout: float, *, events: bool = False) -> int:
        """See ``Store.wait``; the time is simulated."""
        looked, answer = -1, False

        def changed() -> bool:
            nonlocal looked, answer
            if looked != self.writes:
                looked = self.writes
                answer = self.store.wait(after, 0.0, events=events) != after
            return answer

        self._schedule.wait("wait for a change", changed, timeout)
        return self.store.wait(after, 0.0, events=events)

    def wishes(self, kind: Kind, after: int) -> Any:
        """See ``Store.wishes``; may have forgotten what was."""
        self._schedule.pause("store.wishes")
        if self.log_is_gone:
            self.log_is_gone = False
            raise CcoError("RevisionGone", "the log does not reach back so far: a test says so")
        return self.store.wishes(kind, after)

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """See ``Store.transaction``; nothing else happens in it."""
        self._schedule.pause("store.transaction")
        with self._schedule.unbroken(), self.store.transaction(keep=keep):
            yield

    def call(self, part: str, method: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Pause, maybe fail, and do it."""
        self._schedule.pause(f"{part}.{method}")
        if method in READS:
            return self._read((part, method, *args, *sorted(kwargs.items())), lambda: function(*args, **kwargs))
        if self._schedule.current is not None:
            self.calls.append(f"{part}.{method}")
            if self.failures:
                self.failed_at = self._schedule.now
                raise self.failures.pop(0)
        done = function(*args, **kwargs)
        if self.watch is not None:
            self.watch(f"{part}.{method}", args)
        return done

    def _read(self, question: tuple[object, ...], look: Callable[[], Any]) -> Any:
        """Answer from memory while nothing was written: reading is most of the time of a run."""
        if self._known_at != self.writes:
            self._known.clear()
            self._known_at = self.writes
        if question not in self._known:
            try:
                self._known[question] = look()
            except NotFound as error:
                self._known[question] = error
        answer = self._known[question]
        if isinstance(answer, NotFound):
            raise NotFound(answer.reason, answer.message)
        return list(answer) if isinstance(answer, list) else answer


class _Part:
    """``store.instances`` and its like."""

    def __init__(self, part: object, name: str, stepped: SteppedStore) -> None:
        self._part, self._name, self._stepped = part, name, stepped

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._stepped.call(self._name, name, found, *args, **kwargs)

        return call
