"""One subscription to the engine's events for all instances of an installation.

Events are hints: ``watch`` yields the uid of a container that changed, and ``Resync`` whenever something may
have been missed, that is at every connection. The engine keeps only its last 256 events, so nothing is ever
caught up from them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator

import requests

from controller.errors import CcoError, Unavailable
from controller.runtime.protocol import LABEL_INSTALLATION, LABEL_UID, Resync

from .engine import Engine, Json, socket_of
from .remembered import RunningContainers

logger = logging.getLogger(__name__)

_ACTIONS = ("create", "start", "die", "oom", "pause", "unpause", "update", "rename", "destroy")
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_CONNECT_SECONDS = 10
_MAX_TOLD = 200
# How long the end of a watch may go unnoticed; an event is passed on at once.
_STOP_SECONDS = 0.5


def watch_events(
    engine: Engine, installation: str, running: RunningContainers, stop: threading.Event
) -> Iterator[str | Resync]:
    """Yield what changed until ``stop`` is set; the engine may come and go meanwhile."""
    changes: queue.SimpleQueue[str | Resync] = queue.SimpleQueue()

    def tell(change: str | Resync) -> None:
        if not isinstance(change, Resync):
            running.heard_of(change)
        changes.put(change)

    subscription = _Subscription(engine, installation, running, tell)
    # A thread of its own: connecting to an engine that hangs can take longer than a watch may take to end.
    thread = threading.Thread(target=subscription.run, name="docker-events", daemon=True)
    thread.start()
    try:
        while not stop.is_set():
            try:
                change = changes.get(timeout=_STOP_SECONDS)
            except queue.Empty:
                continue
            yield change
    finally:
        subscription.close()
        thread.join(_STOP_SECONDS)


class _Subscription:
    def __init__(
        self, engine: Engine, installation: str, running: RunningContainers, tell: Callable[[str | Resync], None]
    ) -> None:
        self._engine = engine
        self._installation = installation
        self._running = running
        self._tell = tell
        self._closed = threading.Event()
        self._response: requests.Response | None = None

    def close(self) -> None:
        """End the reading from another thread."""
        self._closed.set()
        if (response := self._response) is not None:
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # it has just come to its end by itself
                response.raw.shutdown()

    def run(self) -> None:
        """Connect, read to the end, and again; nobody else would notice that nothing is heard any more."""
        delay = _FIRST_DELAY
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                self._read()
                delay = _FIRST_DELAY
            except Exception as error:  # the thread must outlive whatever an engine sends, and a bug
                if time.monotonic() - began > _LONGEST_DELAY:
                    delay = _FIRST_DELAY
                if delay == _FIRST_DELAY and not self._closed.is_set():
                    is_known = isinstance(error, CcoError)
                    reason = error.message if isinstance(error, CcoError) else repr(error)
                    logger.warning("lost the docker events", extra={"cco_reason": reason}, exc_info=not is_known)
            self._closed.wait(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    def _read(self) -> None:
        filters = {"type": ["container"], "label": [f"{LABEL_INSTALLATION}={self._installation}"], "event": _ACTIONS}
        # The engine answers just before it begins to listen for us; the second before covers that gap.
        query = {"filters": json.dumps(filters), "since": str(int(time.time()) - 1)}
        with self._engine.call("send events") as client:
            response = self._engine.request(
                client, "GET", "/events", params=query, stream=True, timeout=_CONNECT_SECONDS
            )
            with response:
                # From here on silence is not a failure.
                socket_of(response).settimeout(None)
                self._response = response
                try:
                    if self._closed.is_set():  # just before it could be told by this
                        return
                    with self._running.followed():
                        self._tell(Resync())
                        self._pass_on(response)
                finally:
                    self._response = None

    def _pass_on(self, response: requests.Response) -> None:
        for line in response.iter_lines(chunk_size=None):
            if self._closed.is_set():
                return
            if not line:
                continue
            uid, container, action = _read_event(line)
            if uid:
                self._running.ended(uid, container if action == "die" else None)
            if uid and not (action == "destroy" and self._engine.is_echo(uid)):
                self._tell(uid)


def _read_event(line: bytes) -> tuple[str | None, str, str]:
    """Return the uid of the instance, the container's id and the action.

    Raises:
        Unavailable: it is no such thing, half a line for example; whatever it was to tell has to be looked up.
    """
    try:
        event: Json = json.loads(line)
        actor: Json = event["Actor"]
        return actor["Attributes"].get(LABEL_UID), str(actor["ID"]), str(event["Action"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"the Docker engine sent an event that cannot be read: {line[:_MAX_TOLD]!r}"
        raise Unavailable("RuntimeFailed", message) from error
