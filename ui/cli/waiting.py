"""Waiting for something with a deadline: changes come by push, and the object is looked at again now and then.

Level, not edge: an event only says that it is worth judging again; a missed one costs a few seconds, not the wait.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from api.client import ApiError, Client, Resync, WatchEvent, WatchKind
from controller.resources import Instance, Repository

from .exit_codes import ExitCode
from .failures import Failure
from .goals import Thing
from .invocation import Invocation
from .kinds import KindName, Target

LOOK_AGAIN_SECONDS = 5.0
SETTLE_SECONDS = 2.0
"""A bad verdict must stand this long: the controller's own retry may turn it in the meantime."""

Verdict = TypeVar("Verdict")


class Changes:
    """What ``Client.watch`` yields, read by a thread with a client of its own, so that a deadline can be kept.

    ``resource_version`` is where to begin; without it the first thing is a ``Resync``.

    A context manager. The thread ends within about a second of leaving and closes its client itself; nobody waits
    for it.
    """

    def __init__(
        self, connect: Callable[[], Client], kinds: Collection[WatchKind], resource_version: int | None = None
    ) -> None:
        self._connect = connect
        self._kinds = kinds
        self._begin = resource_version
        self._stop = threading.Event()
        self._queue: queue.SimpleQueue[WatchEvent | Resync | Exception] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        threading.Thread(target=self._read, name="watch", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()

    def next(self, timeout: float) -> WatchEvent | Resync | None:
        """Return the next change, or ``None`` after ``timeout`` seconds.

        Raises:
            ServerUnavailable, ApiError: the watch ended with it.
        """
        try:
            item = self._queue.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    def drain(self) -> None:
        """Forget what is queued: the caller is about to look at everything."""
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, Exception):
                raise item

    def _read(self) -> None:
        try:
            with self._connect() as client:
                for item in client.watch(self._begin, self._kinds, self._stop):
                    self._queue.put(item)
        except Exception as error:  # noqa: BLE001  # it is raised again by the thread that waits
            self._queue.put(error)


@dataclass(frozen=True, slots=True)
class Wait(Generic[Verdict]):
    """What is waited for.

    Attributes:
        judge: the verdict on the object (``None`` = gone), or ``None`` to go on waiting.
        hold: how many seconds a verdict must stand before it counts.
        timeout: seconds in all.
        on_change: is told every new look, to show progress.
    """

    target: Target
    judge: Callable[[Thing | None], Verdict | None]
    timeout: float
    hold: Callable[[Verdict], float] = lambda _: 0.0
    on_change: Callable[[Thing | None], None] = lambda _: None


class TimedOutError(Exception):
    """The deadline passed; ``last`` is the newest look."""

    def __init__(self, last: Thing | None) -> None:
        super().__init__("the deadline passed")
        self.last = last


def wait_for(cli: Invocation, client: Client, wait: Wait[Verdict]) -> Verdict:
    """Return the verdict.

    Raises:
        TimedOutError: there was none in time.
        ServerUnavailable, ApiError: the server cannot be asked.
    """
    deadline = time.monotonic() + wait.timeout
    kind: WatchKind = "Instance" if wait.target.kind is KindName.INSTANCE else "Repository"
    candidate: Verdict | None = None
    stands_since = 0.0
    with Changes(cli.client, {kind}) as changes:
        thing = look(client, wait.target)
        while True:
            wait.on_change(thing)
            verdict = wait.judge(thing)
            now = time.monotonic()
            if verdict != candidate:
                candidate, stands_since = verdict, now
            patience = LOOK_AGAIN_SECONDS
            if candidate is not None:
                patience = stands_since + wait.hold(candidate) - now
                if patience <= 0:
                    return candidate
            if now >= deadline:
                raise TimedOutError(thing)
            thing = _next_look(client, changes, wait.target, thing, min(patience, deadline - now))


def look(client: Client, target: Target) -> Thing | None:
    """Return the object as it is now, or ``None`` when there is none."""
    try:
        if target.kind is KindName.INSTANCE:
            return client.get_instance(target.name)
        return client.get_repository(target.name)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def timeout_failure(target: Target, words: str, seconds: float, now: str) -> Failure:
    """Return the failure for a wait that was too long. ``now`` says how the object is instead."""
    return Failure(
        f"{target}: waited {seconds:g} s until it {words}; {now}",
        hint=f"'cco why {target.name}' says what is in the way; --timeout waits longer"
        if target.kind is KindName.INSTANCE
        else f"'cco describe {target.kind} {target.name}' says what is in the way; --timeout waits longer",
        code=ExitCode.TIMEOUT,
    )


def _next_look(client: Client, changes: Changes, target: Target, thing: Thing | None, patience: float) -> Thing | None:
    """Return the object after the next change of it, or after ``patience`` seconds as it is then."""
    deadline = time.monotonic() + patience
    while True:
        change = changes.next(deadline - time.monotonic())
        if change is None or isinstance(change, Resync):
            return look(client, target)
        if change.name != target.name:
            continue
        if change.type == "DELETED":
            return look(client, target)  # another one may have its name by now
        fresh = change.object
        if isinstance(fresh, (Instance, Repository)) and (
            thing is None or fresh.metadata.resource_version > thing.metadata.resource_version
        ):
            return fresh
