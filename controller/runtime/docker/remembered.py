"""What is known of running containers for as long as nothing is heard of them.

Every pass looks at its containers, and most passes only find that all is as it was. One list of all containers
answers those, at a hundredth of the cost of asking for each. Nothing but "it runs, as it did" is ever taken from
here; the engine is asked anew about whatever does not run, is not there, was heard of in an event, or was touched by
this process. So what is told can be a moment late in noticing an end, which its event then corrects; it can never
make anybody start a second container.

An end is told here once, at its event: the engine answers no question about a container while it clears up after it,
which takes a tenth of a second or two, and people should not have to wait for that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from controller.runtime.protocol import LABEL_UID, Workload, WorkloadState

from .engine import Json

FRESH_SECONDS = 2.0
"""How old a look at the engine may be that still answers; events may be lost, so it is never long."""

_LONGEST_LOOK_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Known:
    asked_at: float
    workloads: tuple[Workload, ...]


class RunningContainers:
    """Thread-safe.

    Args:
        network: containers that were taken off it are not as they were.
        clock: monotonic seconds.
    """

    def __init__(self, network: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._network = network
        self._clock = clock
        self._guard = threading.Lock()
        self._followers = 0
        self._known: dict[str, _Known] = {}
        self._heard: dict[str, float] = {}
        self._ended: dict[str, Workload] = {}
        self._listing = threading.Lock()
        self._listed_at = -FRESH_SECONDS
        self._listed: dict[str, frozenset[tuple[str, bool]]] = {}

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Say that the engine's events are received while the block runs; without them nothing is remembered."""
        self._follow(1)
        try:
            yield
        finally:
            self._follow(-1)

    def _follow(self, change: int) -> None:
        with self._guard:
            self._followers += change
            self._known.clear()
            self._ended.clear()

    def heard_of(self, uid: str) -> None:
        """Forget what is known of an instance: something has happened to its containers."""
        with self._guard:
            self._known.pop(uid, None)
            self._heard[uid] = self._clock()

    def ended(self, uid: str, container: str | None) -> None:
        """Note which container of an instance has just ended; ``None`` when something else has happened."""
        with self._guard:
            self._ended.pop(uid, None)
            known = self._known.pop(uid, None)
            if known is not None and [each.id for each in known.workloads] == [container]:
                self._ended[uid] = replace(known.workloads[0], state=WorkloadState.EXITED, ending=True)

    @contextmanager
    def changing(self, uid: str) -> Iterator[None]:
        """Change an instance's containers inside the block: no look from before its end is remembered."""
        try:
            yield
        finally:
            self.ended(uid, None)
            self.heard_of(uid)

    def look(self, uid: str, ask: Callable[[], tuple[Workload, ...]]) -> tuple[Workload, ...]:
        """Ask the engine about an instance's containers, and remember the answer if they all run."""
        asked_at = self._clock()
        found = ask()
        well = all(each.state is WorkloadState.RUNNING and each.notice is None for each in found)
        with self._guard:
            if found and well and self._followers and self._heard.get(uid, asked_at - 1) < asked_at:
                self._known[uid] = _Known(asked_at, found)
        return found

    def recall(self, uid: str, ask_for_all: Callable[[], Sequence[Json]]) -> tuple[Workload, ...] | None:
        """Return an instance's containers if they are known to run as they did, or to have just ended.

        Args:
            uid: of the instance.
            ask_for_all: returns the engine's list of all containers; called when what is known has to be confirmed.
        """
        if (ended := self._ended.pop(uid, None)) is not None:
            return (ended,)
        known = self._known.get(uid)
        if known is None:
            return None
        if self._clock() - known.asked_at > FRESH_SECONDS:
            there = self._list(ask_for_all).get(uid)
            if there != frozenset((each.id, True) for each in known.workloads):
                return None
        return known.workloads if self._known.get(uid) is known else None  # nothing was heard meanwhile

    def _list(self, ask_for_all: Callable[[], Sequence[Json]]) -> dict[str, frozenset[tuple[str, bool]]]:
        """Return each instance's containers and whether they run, from a list that others may have asked for."""
        with self._listing:
            asked_at = self._clock()
            if asked_at - self._listed_at > FRESH_SECONDS:
                found: dict[str, set[tuple[str, bool]]] = {}
                for each in ask_for_all():
                    well = each["State"] == "running" and self._network in each["NetworkSettings"]["Networks"]
                    found.setdefault(each["Labels"].get(LABEL_UID, ""), set()).add((each["Id"], well))
                self._listed = {uid: frozenset(containers) for uid, containers in found.items()}
                self._listed_at = asked_at
                self._tidy(asked_at - _LONGEST_LOOK_SECONDS)
            return self._listed

    def _tidy(self, before: float) -> None:
        """Drop what no look can have begun before any more."""
        with self._guard:
            self._heard = {uid: at for uid, at in self._heard.items() if at > before}
