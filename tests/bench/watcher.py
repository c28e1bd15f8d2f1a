"""A ``/watch`` client that notes when it saw what."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

from api.client import Client, Resync, WatchEvent
from controller.resources import Instance, find_condition

Look = Callable[[WatchEvent], bool]


def is_ready(event: WatchEvent) -> bool:
    """Tell whether the instance is ready."""
    return event.type != "DELETED" and isinstance(event.object, Instance) and _ready(event.object)


def is_gone(event: WatchEvent) -> bool:
    """Tell whether the instance is no more."""
    return event.type == "DELETED"


def _ready(instance: Instance) -> bool:
    ready = find_condition(instance.status.conditions, "Ready")
    return ready is not None and ready.status == "True"


class Watcher:
    """Follows instances in a thread while the block runs; every change gets the time at which it was read."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stop = threading.Event()
        self._began = threading.Event()
        self._seen: queue.SimpleQueue[tuple[float, WatchEvent]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._began.wait(30):
            raise TimeoutError("no answer to a watch within 30 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        for seen in self._client.watch(kinds={"Instance"}, stop=self._stop):
            at = time.monotonic()
            if isinstance(seen, Resync):
                self._began.set()
            else:
                self._seen.put((at, seen))

    def until(self, names: Collection[str], look: Look, *, timeout: float) -> dict[str, float]:
        """Return when (monotonic seconds) a change of each name came for which ``look`` is true.

        Raises:
            TimeoutError: naming those for which none came.
        """
        found: dict[str, float] = {}
        deadline = time.monotonic() + timeout
        while len(found) < len(names):
            try:
                at, event = self._seen.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                missing = sorted(set(names) - set(found))
                raise TimeoutError(f"not within {timeout:.0f} s: {', '.join(missing[:5])} ({len(missing)})") from None
            if event.name in names and event.name not in found and look(event):
                found[event.name] = at
        return found

    def forget(self) -> None:
        """Drop what was read so far."""
        while not self._seen.empty():
            self._seen.get()
