"""The world behind the fake runtime: containers in memory, and the switches of misbehaviour.

``FakeEngine`` outlives a controller, as an engine does. ``fake_runtime.py`` holds the verbs.
"""

from __future__ import annotations

import dataclasses
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING

from controller.errors import Unavailable
from controller.runtime.protocol import ExecResult, Workload, WorkloadSpec, WorkloadState

if TYPE_CHECKING:
    from .fake_belongings import FakeMark

IMAGE = "cc-orchestrator/instance:0.1.0"
VERBS = frozenset(
    {
        *("prepare", "inspect", "list", "create", "start", "stop", "remove", "remove_home", "update", "image_id"),
        *("belongings", "discard"),
        *("exec", "attach", "attach_argv", "logs"),
    }
)
HANG_SECONDS = 10.0
ALIVE = (WorkloadState.RUNNING, WorkloadState.PAUSED, WorkloadState.LOST)


@dataclass
class FakeContainer:
    """A container and what is seen of it."""

    installation: str
    spec: WorkloadSpec
    seen: Workload
    created_at: datetime
    home: str = ""
    network: str = ""
    logs: list[bytes] = field(default_factory=list)


Events = queue.SimpleQueue[str | None]
"""Uids to a watch; ``None`` means that the connection was cut."""


def _next_event(events: Events) -> str | None:
    return events.get(timeout=0.02)


def unavailable() -> Unavailable:
    """Return what a runtime raises when its engine does not answer."""
    return Unavailable("RuntimeUnavailable", "the engine does not answer: a test switched it off")


class FakeEngine:
    """Containers, volumes, networks and images in memory, and the switches of misbehaviour.

    Attributes:
        images: local images, name to identifier.
        homes: HOME volumes, name to the uid they carry.
        marks: whose a HOME volume or network is, by its name.
        foreign: names taken by containers that are not ours.
        networks: existing networks; a start needs the runtime's own.
        missing_sources: mount sources that do not exist.
        drop_events: while true, nobody is told of any change.
        stubborn: uids whose first process ignores the polite signal (stop waits out its grace at no real time).
        programs: what ``exec`` runs, by the first word of its argv.
        calls: every verb called, in order, reads too.
        changes: what was changed in the world, in order, as ``verb name``; quiescence means it does not grow.
        interrupt: called with ``(verb, "before" | "after")`` around each verb; raising from it is a crash there.
        observers: called with each container whose state just changed, whether or not anybody is told of it.
        next_event: how a watch waits for its next event; raises ``queue.Empty`` after a moment without one.
    """

    def __init__(self, *, cpus: float = 4.0, now: Callable[[], datetime] | None = None) -> None:
        self.cpus = cpus
        self.images: dict[str, str] = {IMAGE: "sha256:" + "1" * 64}
        self.homes: dict[str, str] = {}
        self.marks: dict[str, FakeMark] = {}
        self.foreign: dict[str, dict[str, str]] = {}
        self.networks: set[str] = set()
        self.missing_sources: set[str] = set()
        self.drop_events = False
        self.stubborn: set[str] = set()
        self.programs: dict[str, Callable[[Sequence[str]], ExecResult]] = {}
        self.calls: list[str] = []
        self.changes: list[str] = []
        self.interrupt: Callable[[str, str], None] | None = None
        self.observers: list[Callable[[FakeContainer], None]] = []
        self.next_event: Callable[[Events], str | None] = _next_event
        self.lock = threading.RLock()
        self.containers: dict[str, FakeContainer] = {}
        self._now = now or (lambda: datetime.now(UTC))
        self._ids = itertools.count(1)
        self._away = False
        self._failures: dict[tuple[str, str], deque[Exception]] = {}
        self._hanging: dict[str, Event] = {}
        self._crash_on_start: dict[str, tuple[int, bool]] = {}
        self._watchers: list[tuple[str, Events]] = []

    # Misbehaviour -------------------------------------------------------------------------------------------

    def go_away(self) -> None:
        """Let every verb fail with Unavailable and break every watch, until :meth:`come_back`."""
        self._away = True
        self.break_watches()

    def come_back(self) -> None:
        """Answer again; what was there is still there."""
        self._away = False

    @property
    def away(self) -> bool:
        """Whether the engine is unavailable now."""
        return self._away

    def fail_next(self, verb: str, error: Exception | None = None) -> None:
        """Let the next call of the verb do nothing and raise (default: Unavailable)."""
        self._fail(verb, "before", error)

    def lose_next_answer(self, verb: str, error: Exception | None = None) -> None:
        """Let the next call of the verb do its work and raise all the same (default: Unavailable)."""
        self._fail(verb, "after", error)

    def _fail(self, verb: str, moment: str, error: Exception | None) -> None:
        assert verb in VERBS, f"no verb {verb!r}"
        self._failures.setdefault((verb, moment), deque()).append(error or unavailable())

    def behave(self) -> None:
        """Forget the failures that are still to come."""
        self._failures.clear()

    @contextmanager
    def hang(self, verb: str) -> Iterator[None]:
        """Let calls of the verb block while the ``with`` block runs; after ten seconds they are Unavailable."""
        assert verb in VERBS, f"no verb {verb!r}"
        released = self._hanging[verb] = Event()
        try:
            yield
        finally:
            del self._hanging[verb]
            released.set()

    def break_watches(self) -> None:
        """Cut every watch: what happens until it is connected again is never told."""
        with self.lock:
            for _, events in self._watchers:
                events.put(None)

    def crash(self, uid: str, exit_code: int = 1, *, oom: bool = False) -> None:
        """Let the first process of every living workload of the uid end by itself."""
        with self.lock:
            for container in self.of_uid(uid):
                if container.seen.state in ALIVE:
                    self.end(container, 137 if oom else exit_code, oom=oom)

    def crash_on_start(self, name: str, exit_code: int | None = 1, *, oom: bool = False) -> None:
        """Let every start of the instance end at once with the code; ``None`` heals it."""
        if exit_code is None:
            self._crash_on_start.pop(name, None)
        else:
            self._crash_on_start[name] = (exit_code, oom)

    def ends_at_once(self, name: str) -> bool:
        """Tell whether :meth:`crash_on_start` said so."""
        return name in self._crash_on_start

    def remove_by_hand(self, uid: str) -> None:
        """Do what ``docker rm -f`` does behind our back."""
        with self.lock:
            for container in self.of_uid(uid):
                del self.containers[container.seen.name]
                self.tell(container)

    def pause_by_hand(self, uid: str) -> None:
        """Do what ``docker pause`` does behind our back."""
        with self.lock:
            for container in self.of_uid(uid):
                if container.seen.state is WorkloadState.RUNNING:
                    self.alter(container, state=WorkloadState.PAUSED)

    def lose(self, uid: str) -> None:
        """Let the place the workload runs on go silent, as a cluster's node does."""
        with self.lock:
            for container in self.of_uid(uid):
                self.alter(container, state=WorkloadState.LOST)

    def occupy(self, container_name: str, labels: Mapping[str, str] | None = None) -> None:
        """Let something that is not ours take a container's name."""
        self.foreign[container_name] = dict(labels or {})

    # The world ----------------------------------------------------------------------------------------------

    def of_uid(self, uid: str) -> list[FakeContainer]:
        """Return the containers of the uid, whatever installation made them."""
        return [container for container in self.containers.values() if container.spec.uid == uid]

    def now(self) -> datetime:
        """Return the engine's time."""
        return self._now()

    def new_id(self) -> str:
        """Return an identifier that nothing ever had."""
        return f"{next(self._ids):064x}"

    def make(self, installation: str, name: str, spec: WorkloadSpec, *, home: str = "", network: str = "") -> None:
        """Add a container that was never started."""
        seen = Workload(
            id=self.new_id(),
            name=name,
            instance=spec.name,
            uid=spec.uid,
            attempt=spec.attempt,
            state=WorkloadState.CREATED,
            spec_hash=spec.spec_hash,
            limits=spec.limits,
            image_id=self.images[spec.image],
        )
        self.containers[name] = container = FakeContainer(installation, spec, seen, self._now(), home, network)
        self.tell(container)

    def run(self, container: FakeContainer) -> None:
        """Start the first process, which ends at once where :meth:`crash_on_start` says so."""
        container.logs.append(b"started\n")
        self.alter(
            container,
            state=WorkloadState.RUNNING,
            started_at=self._now(),
            exit_code=None,
            oom_killed=False,
            finished_at=None,
        )
        if (crash := self._crash_on_start.get(container.spec.name)) is not None:
            self.end(container, crash[0], oom=crash[1])

    def end(self, container: FakeContainer, exit_code: int, *, oom: bool = False) -> None:
        """Let the first process end."""
        self.alter(container, state=WorkloadState.EXITED, exit_code=exit_code, oom_killed=oom, finished_at=self._now())

    def alter(self, container: FakeContainer, **changes: object) -> None:
        """Change what is seen of a container and tell the watchers."""
        container.seen = dataclasses.replace(container.seen, **changes)  # type: ignore[arg-type]  # checked by replace
        self.tell(container)

    def tell(self, container: FakeContainer) -> None:
        """Send an event about the container to the watches of its installation."""
        for observer in self.observers:
            observer(container)
        if self.drop_events:
            return
        for installation, events in self._watchers:
            if installation == container.installation:
                events.put(container.spec.uid)

    @contextmanager
    def call(self, verb: str) -> Iterator[None]:
        """Wrap one verb: it is recorded, it may hang or fail, and no two of them overlap."""
        self.calls.append(verb)
        if (released := self._hanging.get(verb)) is not None and not released.wait(HANG_SECONDS):
            raise unavailable()
        if self._away:
            raise unavailable()
        self._misbehave(verb, "before")
        with self.lock:
            yield
        self._misbehave(verb, "after")

    def _misbehave(self, verb: str, moment: str) -> None:
        if self.interrupt is not None:
            self.interrupt(verb, moment)
        if failures := self._failures.get((verb, moment)):
            raise failures.popleft()

    @contextmanager
    def subscribe(self, installation: str) -> Iterator[Events]:
        """Yield the events of one installation; ``None`` means that the connection was cut."""
        entry = (installation, Events())
        with self.lock:
            self._watchers.append(entry)
        try:
            yield entry[1]
        finally:
            with self.lock:
                self._watchers.remove(entry)
