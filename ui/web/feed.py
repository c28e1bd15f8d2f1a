"""The one place pages get their data from: a single watch on the API, shared by everybody who looks.

A thread lists everything, then follows ``GET /api/watch`` and lists again when that says so or breaks. What it
learns is handed to the event loop in batches; there :class:`Feed` replaces what it knows and tells each page
which names changed. Pages read its attributes on the event loop and never call the API to show a list.

With nobody looking, nothing is watched: reading every change of a busy fleet costs as much as serving the API. The
first page after that waits for a list, as the first one ever does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from api.client import ApiError, Client, Resync, ServerUnavailable, WatchEvent
from controller.resources import Event, Instance, Repository

from .health import Health, ask_health, engine_health
from .view import InstanceView, view_of

logger = logging.getLogger(__name__)

BATCH_SECONDS = 0.1
"""Changes are shown at once, but not more often than this: a burst becomes one patch of each page."""

LINGER_SECONDS = 30.0
"""After the last page has gone; most come back, since following a link is leaving, too."""

HEALTH_SECONDS = 5.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

T = TypeVar("T")
Listener = Callable[["Changes"], None]


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different since the last call; names of objects that are gone are among the others.

    Attributes:
        synced: everything was listed anew, so compare with everything.
    """

    instances: frozenset[str] = frozenset()
    repositories: frozenset[str] = frozenset()
    events: tuple[Event, ...] = ()
    health: bool = False
    synced: bool = False


@dataclass(slots=True)
class _Batch:
    """What the thread has learnt and the event loop has not taken yet; ``None`` = gone."""

    complete: bool = False
    instances: dict[str, tuple[Instance, InstanceView] | None] = field(default_factory=dict)
    repositories: dict[str, Repository | None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class Feed:
    """The fleet as it is now, for every page of this process.

    Attributes:
        instances: by name.
        views: the texts of each of them, made once for all pages.
        repositories: by name.
        health: of the parts behind the API.
        synced: everything has been listed, and followed since.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.instances: Mapping[str, Instance] = {}
        self.views: Mapping[str, InstanceView] = {}
        self.repositories: Mapping[str, Repository] = {}
        self.health = Health()
        self._asked = Health()
        self.synced = False
        self._listeners: list[Listener] = []
        self._looked_at = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._batch = _Batch()
        self._scheduled = False
        self._not_before = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []

    # -- on the event loop ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch; to be called on the event loop, once."""
        self._loop = asyncio.get_running_loop()
        for target in (self._keep_watching, self._keep_asking_health):
            thread = threading.Thread(target=target, name=f"feed{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop watching; idempotent, does not wait, safe in a signal handler's callback."""
        self._stop.set()
        self._looked_at.set()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call the listener on the event loop with every batch of changes until the returned function is called."""
        self._listeners.append(listener)
        self._looked_at.set()

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):  # a page may go twice: closed by its viewer, then pruned
                self._listeners.remove(listener)
            if self._loop is not None:
                self._loop.call_later(LINGER_SECONDS, self._rest_unless_looked_at)

        return unsubscribe

    def _rest_unless_looked_at(self) -> None:
        if not self._listeners and not self._stop.is_set():
            self._looked_at.clear()

    def _forget(self) -> None:
        """What is known grows old from now on: the next page waits until everything is listed again."""
        self.synced = False

    def _publish(self, changes: Changes) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(changes)
            except Exception:  # one page must not keep the news from the others
                logger.exception("page failed to show changes")

    def _take_batch(self) -> None:
        with self._lock:
            batch, self._batch = self._batch, _Batch()
            self._scheduled = False
        if self._loop is not None:
            self._not_before = self._loop.time() + BATCH_SECONDS
        kept_instances = {} if batch.complete else self.instances
        kept_repositories = {} if batch.complete else self.repositories
        names = frozenset(batch.instances)
        repositories = frozenset(batch.repositories)
        if batch.complete:
            names |= frozenset(self.instances)
            repositories |= frozenset(self.repositories)
            self.synced = True
        found = {name: pair for name, pair in batch.instances.items() if pair is not None}
        self.instances = _merged(kept_instances, batch.instances, {name: pair[0] for name, pair in found.items()})
        kept_views = {} if batch.complete else self.views
        self.views = _merged(kept_views, batch.instances, {name: pair[1] for name, pair in found.items()})
        known = {name: value for name, value in batch.repositories.items() if value is not None}
        self.repositories = _merged(kept_repositories, batch.repositories, known)
        self._publish(
            Changes(
                names,
                repositories,
                tuple(batch.events),
                health=self._conclude_health(),
                synced=batch.complete,
            )
        )

    def _take_health(self, asked: Health) -> None:
        self._asked = asked
        if self._conclude_health():
            self._publish(Changes(health=True))

    def _conclude_health(self) -> bool:
        before = self.health
        self.health = Health(self._asked.controller, engine_health(self.instances.values(), self._asked))
        return self.health != before

    # -- in the threads -------------------------------------------------------------------------------------

    def _keep_watching(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            if not self._looked_at.wait(LONGEST_PAUSE):
                continue
            try:
                for item in self._client.watch(kinds=("Instance", "Repository", "Event"), stop=self._stop):
                    pause = FIRST_PAUSE
                    if not self._looked_at.is_set():
                        self._call(self._forget)
                        break
                    self._learn(item)
            except (ApiError, ServerUnavailable) as error:
                # At the start this process does not listen yet, so the first failures are no news.
                level = logging.WARNING if pause == LONGEST_PAUSE else logging.DEBUG
                logger.log(level, "watch broke", extra={"cco_error": str(error)})
            except Exception:  # an answer that cannot be read must not end the watch for ever
                logger.exception("watch failed")
            self._stop.wait(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    def _keep_asking_health(self) -> None:
        while not self._stop.is_set():
            health = ask_health(self._client)
            if health is not None:
                self._call(partial(self._take_health, health))
            self._stop.wait(FIRST_PAUSE if health is None else HEALTH_SECONDS)

    def _learn(self, item: WatchEvent | Resync) -> None:
        if isinstance(item, Resync):
            instances = {i.metadata.name: (i, view_of(i)) for i in self._client.list_instances()}
            repositories = {r.metadata.name: r for r in self._client.list_repositories()}
            with self._lock:
                self._batch = _Batch(True, dict(instances), dict(repositories), self._batch.events)
        else:
            self._note(item)
        self._schedule()

    def _note(self, item: WatchEvent) -> None:
        gone = item.type == "DELETED"
        if isinstance(item.object, Instance):
            pair = None if gone else (item.object, view_of(item.object))
            with self._lock:
                self._batch.instances[item.name] = pair
        elif isinstance(item.object, Repository):
            with self._lock:
                self._batch.repositories[item.name] = None if gone else item.object
        else:
            with self._lock:
                self._batch.events.append(item.object)

    def _schedule(self) -> None:
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        self._call(self._take_batch_when_due)

    def _take_batch_when_due(self) -> None:
        if self._loop is not None:
            self._loop.call_at(max(self._loop.time(), self._not_before), self._take_batch)

    def _call(self, callback: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: the process ends
                self._loop.call_soon_threadsafe(callback)


def _merged(kept: Mapping[str, T], changed: Mapping[str, object], now: Mapping[str, T]) -> dict[str, T]:
    """Return what is kept without the changed names, and those as they are now."""
    return {name: value for name, value in kept.items() if name not in changed} | dict(now)
