"""One reader of the change log for all watchers.

It follows the store in a thread and hands each change, encoded once, to every subscriber's bounded queue. Who reads
too slowly is cut off and has to list again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import Final

from controller.errors import CcoError, StoreError
from controller.resources import Instance
from controller.store import Change, EventChange, Store

from .problems import Refused
from .wire import view

logger = logging.getLogger(__name__)

MAX_WATCHERS: Final = 256
MAX_QUEUED: Final = 1000
"""Changes a subscriber may be behind; the texts are shared between subscribers, so a queue is small."""

WAIT_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One change as it goes over the wire."""

    kind: str
    revision: int
    text: bytes


class Subscriber:
    """One watcher's queue; all of it but :meth:`offer` belongs to the watcher's event loop."""

    def __init__(self, kinds: Collection[str], position: int) -> None:
        self._kinds = frozenset(kinds)
        self._loop = asyncio.get_running_loop()
        self._frames: deque[Frame] = deque()
        self._moved = asyncio.Event()
        self.position = position
        self.lost = False
        self.closed = False

    @property
    def caught_up(self) -> bool:
        """Whether everything up to ``position`` was taken out of the queue, and nothing is missing."""
        return not self._frames and not self.lost

    def is_over(self) -> bool:
        """Tell whether nothing more will come."""
        return self.lost or self.closed

    def offer(self, frames: Sequence[Frame], position: int) -> None:
        """Hand over changes, from any thread."""
        self._call(self._take, frames, position)

    def lose(self) -> None:
        """Say that changes are missing, from any thread."""
        self._call(self._lose)

    def close(self) -> None:
        """End the watch, from any thread."""
        self._call(self._close)

    async def next(self, seconds: float) -> list[Frame]:
        """Return what came, waiting up to so many seconds; look at ``lost`` and ``closed`` afterwards."""
        if not self._frames and not self.is_over():
            try:
                await asyncio.wait_for(self._moved.wait(), seconds)
            except TimeoutError:
                return []
        self._moved.clear()
        found = list(self._frames)
        self._frames.clear()
        return found

    def skip_to(self, position: int) -> None:
        """Drop what is known up to there already."""
        self.position = max(self.position, position)
        self._frames = deque(frame for frame in self._frames if frame.revision > position)

    def _call(self, function: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return  # the loop has ended, and the watch with it

    def _take(self, frames: Sequence[Frame], position: int) -> None:
        if self.lost:
            return
        self._frames.extend(f for f in frames if f.kind in self._kinds and f.revision > self.position)
        self.position = max(self.position, position)
        if len(self._frames) > MAX_QUEUED:
            self._lose()
        elif self._frames:
            self._moved.set()

    def _lose(self) -> None:
        self._frames.clear()
        self.lost = True
        self._moved.set()

    def _close(self) -> None:
        self.closed = True
        self._moved.set()


class Hub:
    """Starts its thread with the first subscriber; :meth:`close` ends it and every watch."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._subscribers: set[Subscriber] = set()
        self._position = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @property
    def watchers(self) -> int:
        """How many there are."""
        return len(self._subscribers)

    async def subscribe(self, after: int, kinds: Collection[str]) -> tuple[Subscriber, list[Frame]]:
        """Return a subscriber and what happened since ``after``; from there on nothing is missed or repeated.

        Raises:
            RevisionGone: the caller has to list again.
            Refused: too many watchers, or the server is going down.
        """
        with self._lock:
            if self._stop.is_set() or len(self._subscribers) >= MAX_WATCHERS:
                raise Refused(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "TooManyWatchers",
                    f"this server has {len(self._subscribers)} watchers, which is all it takes: try again later",
                )
            if self._thread is None:
                self._position = self._store.revision()
                self._thread = threading.Thread(target=self._run, name="watch-hub", daemon=True)
                self._thread.start()
            # Registered before the past is read: a change in between comes twice and is dropped by its revision.
            subscriber = Subscriber(kinds, after)
            self._subscribers.add(subscriber)
        try:
            past = await asyncio.to_thread(self._read, after)
        except BaseException:
            self.unsubscribe(subscriber)
            raise
        frames, position = past
        subscriber.skip_to(position)
        return subscriber, [frame for frame in frames if frame.kind in kinds]

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; idempotent."""
        with self._lock:
            self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End every watch and the thread; does not wait, idempotent, safe from any thread."""
        self._stop.set()
        with self._lock:
            subscribers = tuple(self._subscribers)
        for subscriber in subscribers:
            subscriber.close()

    def _run(self) -> None:
        while not self._stop.is_set() and not self._store.closed:
            try:
                self._turn()
            except StoreError:
                self._restart()
            except CcoError as error:
                logger.warning("change log not readable", extra={"cco_reason": error.reason})
                self._stop.wait(RETRY_SECONDS)

    def _turn(self) -> None:
        newest = self._store.wait(self._position, WAIT_SECONDS, events=True)
        if newest == self._position or self._stop.is_set():
            return
        with self._lock:
            if not self._subscribers:
                self._position = newest
                return
        frames, position = self._read(self._position)
        with self._lock:
            subscribers = tuple(self._subscribers)
            self._position = position
        for subscriber in subscribers:
            subscriber.offer(frames, position)

    def _restart(self) -> None:
        with self._lock:
            subscribers = tuple(self._subscribers)
            self._position = self._store.revision()
        for subscriber in subscribers:
            subscriber.lose()

    def _read(self, after: int) -> tuple[list[Frame], int]:
        changes = self._store.feed(after)
        return encode(changes), changes[-1].resource_version if changes else after


def encode(changes: Sequence[Change | EventChange]) -> list[Frame]:
    """Return the changes as events of an event stream.

    Only the last change of a revision carries its id: who resumes from there has seen all of it.
    """
    ends = [after.resource_version != before.resource_version for before, after in pairwise(changes)] + [True]
    return [_frame(change, ends_revision=end) for change, end in zip(changes, ends, strict=False)]


def _frame(change: Change | EventChange, *, ends_revision: bool) -> Frame:
    revision = change.resource_version
    if isinstance(change, EventChange):
        event = change.event
        kind, type_, name = "Event", "ADDED" if event.count == 1 else "MODIFIED", event.name
        body = event.model_dump_json()
    else:
        kind, type_, name = change.kind.value, change.type, change.name
        found = change.object
        shown = view(found) if isinstance(found, Instance) else found
        body = shown.model_dump_json()
    data = f'{{"type":"{type_}","kind":"{kind}","name":"{name}","resource_version":{revision},"object":{body}}}'
    identity = f"id: {revision}\n" if ends_revision else ""
    return Frame(kind, revision, f"event: change\n{identity}data: {data}\n\n".encode())
