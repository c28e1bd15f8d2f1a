"""What puts names on the queue: the database, the runtime's events, the clock; agents' reports add names directly.

A source never says what happened, only where to look; losing a hint costs time until the next resync, nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.errors import CcoError
from controller.resources import Kind
from controller.runtime.choice import Runtimes
from controller.runtime.protocol import Resync, Runtime

from .loop import Request
from .workqueue import Workqueue

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5

GATHER_SECONDS = 0.02
"""Between two looks at the store's changes: nobody waits longer for that, and a burst of writes costs few looks."""


class ChangeLog(Protocol):
    """The store's side of :class:`StoreSource`."""

    def revision(self) -> int:
        """Return the newest revision."""

    def wait(self, after: int, timeout: float) -> int:
        """Block until the revision is not ``after`` any more, or for ``timeout`` seconds; return it."""

    def wishes(self, kind: Kind, after: int) -> tuple[int, Sequence[str]]:
        """Return the newest revision, and the names of the objects of which a user wants something else since."""


@dataclass(frozen=True, slots=True)
class StoreSource:
    """Announces every object once, then each one whose row changed, by whichever process.

    Args:
        names: returns the names of all objects of the kind.
    """

    log: ChangeLog
    kind: Kind
    names: Callable[[], Iterable[str]]

    def run(self, queue: Workqueue[Request], stop: threading.Event) -> None:
        """See :class:`~controller.reconcile.loop.Source`."""
        seen = self.log.revision()
        self._announce_all(queue)
        while not stop.is_set():
            if self.log.wait(seen, POLL_SECONDS) != seen:
                seen = self._announce_changes(queue, seen)
                stop.wait(GATHER_SECONDS)

    def _announce_changes(self, queue: Workqueue[Request], seen: int) -> int:
        """Announce what changed after ``seen``; returns the revision up to which everything was announced."""
        try:
            revision, names = self.log.wishes(self.kind, seen)
        except CcoError as error:  # the log no longer reaches back so far: look at everything
            logger.info("change log skipped", extra={"cco_reason": error.reason})
            revision = self.log.revision()
            names = tuple(self.names())
        for name in names:
            queue.add(Request(name))
        return revision

    def _announce_all(self, queue: Workqueue[Request]) -> None:
        for name in self.names():
            queue.add(Request(name))


@dataclass(frozen=True, slots=True)
class RuntimeSource:
    """Announces the instances whose workload changed; all of them after every (re)connection.

    Args:
        name: of the runtime; nothing is asked of it before an instance uses it.
        name_of: returns the name of the instance with a uid, ``None`` if there is none.
        names: returns the names of all instances.
    """

    runtimes: Runtimes
    name: str
    name_of: Callable[[str], str | None]
    names: Callable[[], Iterable[str]]

    def run(self, queue: Workqueue[Request], stop: threading.Event) -> None:
        """See :class:`~controller.reconcile.loop.Source`."""
        while not stop.is_set():
            if (runtime := self.runtimes.in_use(self.name, POLL_SECONDS)) is not None:
                self._follow(runtime, queue, stop)

    def _follow(self, runtime: Runtime, queue: Workqueue[Request], stop: threading.Event) -> None:
        for hint in runtime.watch(stop):
            if isinstance(hint, Resync):
                _prepare(runtime)
            found = self.names() if isinstance(hint, Resync) else (self.name_of(hint),)
            for name in found:
                if name is not None:
                    queue.add(Request(name))


def _prepare(runtime: Runtime) -> None:
    """Prepare the runtime; what is in the way of that, the passes will meet and report."""
    try:
        runtime.prepare()
    except CcoError as error:
        logger.warning("runtime not prepared", extra={"cco_reason": error.reason, "cco_error": error.message})


@dataclass(frozen=True, slots=True)
class ResyncSource:
    """Announces everything at a steady pace, so that no lost hint matters for long."""

    names: Callable[[], Iterable[str]]
    seconds: float

    def run(self, queue: Workqueue[Request], stop: threading.Event) -> None:
        """See :class:`~controller.reconcile.loop.Source`."""
        while not stop.wait(self.seconds):
            for name in self.names():
                queue.add(Request(name))
