"""The one fake of the Runtime protocol: in memory, deterministic, and able to misbehave.

``FakeEngine`` is the world that outlives a controller: a test restarts the controller by making a second
``FakeRuntime`` over the same engine. Whatever goes wrong is switched on at the engine by a method or field
named for how it fails. ``tests/unit/runtime`` holds the fake to the same contract suite as the real runtimes.
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

from controller.errors import Conflict, Retryable, Terminal, Unavailable
from controller.runtime.protocol import (
    AttachStream,
    ExecResult,
    Limits,
    Resync,
    Workload,
    WorkloadSpec,
    WorkloadState,
)

IMAGE = "cc-orchestrator/instance:0.1.0"
VERBS = frozenset(
    {
        *("prepare", "inspect", "list", "create", "start", "stop", "remove", "remove_home", "update", "image_id"),
        *("exec", "attach", "attach_argv", "logs"),
    }
)
MIN_MEMORY = 6 * 1024**2
_HANG_SECONDS = 10.0
_ALIVE = (WorkloadState.RUNNING, WorkloadState.PAUSED, WorkloadState.LOST)

Program = Callable[[WorkloadSpec], ExecResult]


@dataclass
class _Container:
    installation: str
    spec: WorkloadSpec
    seen: Workload
    logs: list[bytes] = field(default_factory=list)


def unavailable() -> Unavailable:
    """Return what a runtime raises when its engine does not answer."""
    return Unavailable("RuntimeUnavailable", "the engine does not answer: a test switched it off")


class FakeEngine:
    """Containers, volumes, networks and images in memory, and the switches of misbehaviour.

    Attributes:
        images: local images, name to identifier.
        homes: HOME volumes, name to the uid they carry.
        foreign: names taken by containers that are not ours.
        networks: existing networks; a start needs the runtime's own.
        missing_sources: mount sources that do not exist.
        drop_events: while true, nobody is told of any change.
        stubborn: uids whose first process ignores the polite signal (stop waits out its grace at no real time).
        programs: what ``exec`` runs, by the first word of its argv.
        calls: every verb called, in order, reads too.
        changes: what was changed in the world, in order, as ``verb name``; quiescence means it does not grow.
        interrupt: called with ``(verb, "before" | "after")`` around each verb; raising from it is a crash there.
    """

    def __init__(self, *, cpus: float = 4.0, now: Callable[[], datetime] | None = None) -> None:
        self.cpus = cpus
        self.images: dict[str, str] = {IMAGE: "sha256:" + "1" * 64}
        self.homes: dict[str, str] = {}
        self.foreign: dict[str, dict[str, str]] = {}
        self.networks: set[str] = set()
        self.missing_sources: set[str] = set()
        self.drop_events = False
        self.stubborn: set[str] = set()
        self.programs: dict[str, Callable[[Sequence[str]], ExecResult]] = {}
        self.calls: list[str] = []
        self.changes: list[str] = []
        self.interrupt: Callable[[str, str], None] | None = None
        self.lock = threading.RLock()
        self.containers: dict[str, _Container] = {}
        self._now = now or (lambda: datetime.now(UTC))
        self._ids = itertools.count(1)
        self._away = False
        self._failures: dict[tuple[str, str], deque[Exception]] = {}
        self._hanging: dict[str, Event] = {}
        self._crash_on_start: dict[str, tuple[int, bool]] = {}
        self._watchers: list[tuple[str, queue.SimpleQueue[str | None]]] = []

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
                if container.seen.state in _ALIVE:
                    self.end(container, 137 if oom else exit_code, oom=oom)

    def crash_on_start(self, name: str, exit_code: int | None = 1, *, oom: bool = False) -> None:
        """Let every start of the instance end at once with the code; ``None`` heals it."""
        if exit_code is None:
            self._crash_on_start.pop(name, None)
        else:
            self._crash_on_start[name] = (exit_code, oom)

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

    def of_uid(self, uid: str) -> list[_Container]:
        """Return the containers of the uid, whatever installation made them."""
        return [container for container in self.containers.values() if container.spec.uid == uid]

    def make(self, installation: str, name: str, spec: WorkloadSpec) -> None:
        """Add a container that was never started."""
        seen = Workload(
            id=f"{next(self._ids):064x}",
            name=name,
            instance=spec.name,
            uid=spec.uid,
            attempt=spec.attempt,
            state=WorkloadState.CREATED,
            spec_hash=spec.spec_hash,
            limits=spec.limits,
            image_id=self.images[spec.image],
        )
        self.containers[name] = container = _Container(installation, spec, seen)
        self.tell(container)

    def run(self, container: _Container) -> None:
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

    def end(self, container: _Container, exit_code: int, *, oom: bool = False) -> None:
        """Let the first process end."""
        self.alter(container, state=WorkloadState.EXITED, exit_code=exit_code, oom_killed=oom, finished_at=self._now())

    def alter(self, container: _Container, **changes: object) -> None:
        """Change what is seen of a container and tell the watchers."""
        container.seen = dataclasses.replace(container.seen, **changes)  # type: ignore[arg-type]  # checked by replace
        self.tell(container)

    def tell(self, container: _Container) -> None:
        """Send an event about the container to the watches of its installation."""
        if self.drop_events:
            return
        for installation, events in self._watchers:
            if installation == container.installation:
                events.put(container.spec.uid)

    @contextmanager
    def call(self, verb: str) -> Iterator[None]:
        """Wrap one verb: it is recorded, it may hang or fail, and no two of them overlap."""
        self.calls.append(verb)
        if (released := self._hanging.get(verb)) is not None and not released.wait(_HANG_SECONDS):
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
    def subscribe(self, installation: str) -> Iterator[queue.SimpleQueue[str | None]]:
        """Yield the events of one installation; ``None`` means that the connection was cut."""
        entry = (installation, queue.SimpleQueue[str | None]())
        with self.lock:
            self._watchers.append(entry)
        try:
            yield entry[1]
        finally:
            with self.lock:
                self._watchers.remove(entry)


class FakeTerminal:
    """A terminal whose program sends back what is typed; ``resize`` is kept in ``size``."""

    def __init__(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)
        self._bytes: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest = b""

    def read(self, size: int = 65536) -> bytes:
        """Return what was typed and not yet read; ``b""`` after the end."""
        data = self._rest or self._bytes.get(timeout=_HANG_SECONDS)
        self._rest = data[size:]
        return data[:size]

    def write(self, data: bytes) -> None:
        """Type."""
        self._bytes.put(data)

    def resize(self, columns: int, rows: int) -> None:
        """Keep the size."""
        self.size = (columns, rows)

    def close(self) -> None:
        """End the program: readers see the end."""
        self._bytes.put(b"")


class FakeRuntime:
    """One installation's view of a :class:`FakeEngine`, with the verbs of the Runtime protocol."""

    def __init__(
        self, engine: FakeEngine | None = None, *, installation: str = "test", prefix: str = "cco", network: str = "cco"
    ) -> None:
        self.engine = engine or FakeEngine()
        self.installation = installation
        self.prefix = prefix
        self.network = network

    def prepare(self) -> None:
        with self.engine.call("prepare"):
            self._ensure_network()

    def _ensure_network(self) -> None:
        if self.network not in self.engine.networks:
            self.engine.networks.add(self.network)
            self.engine.changes.append(f"network {self.network}")

    def inspect(self, uid: str) -> tuple[Workload, ...]:
        with self.engine.call("inspect"):
            return tuple(container.seen for container in self._ours(uid))

    def list(self) -> tuple[Workload, ...]:
        with self.engine.call("list"):
            mine = (each for each in self.engine.containers.values() if each.installation == self.installation)
            return tuple(container.seen for container in mine)

    def _ours(self, uid: str) -> Sequence[_Container]:
        ours = [each for each in self.engine.of_uid(uid) if each.installation == self.installation]
        return sorted(ours, key=lambda container: -container.seen.attempt)

    def create(self, spec: WorkloadSpec) -> None:
        name = f"{self.prefix}-{spec.name}-{spec.attempt}"
        home = self._home(spec.name, spec.uid)
        with self.engine.call("create"):
            if any(container.seen.attempt == spec.attempt for container in self._ours(spec.uid)):
                return
            if name in self.engine.containers or name in self.engine.foreign:
                raise Conflict("NameConflict", f"a container named {name!r} is there and is not ours: remove it")
            if spec.image not in self.engine.images:
                raise Terminal("ImageNotFound", f"image: {spec.image!r} is not on this machine: build or pull it")
            self._check(spec.limits)
            self._check_sources(spec)
            if self.engine.homes.setdefault(home, spec.uid) != spec.uid:
                raise Conflict("NameConflict", f"a volume named {home!r} is there and is not ours: remove it")
            self._ensure_network()
            self.engine.make(self.installation, name, spec)
            self.engine.changes.append(f"create {spec.name}")

    def _home(self, name: str, uid: str) -> str:
        return f"{self.prefix}-{name}-{uid[:8]}-home"

    def _check(self, limits: Limits) -> None:
        if limits.cpus > self.engine.cpus:
            raise Terminal("InvalidLimits", f"cpus: {limits.cpus} is more than this machine has ({self.engine.cpus})")
        if limits.memory < MIN_MEMORY:
            raise Terminal("InvalidLimits", f"memory: {limits.memory} is less than the minimum, {MIN_MEMORY}")

    def _check_sources(self, spec: WorkloadSpec) -> None:
        for mount in spec.mounts:
            if mount.source in self.engine.missing_sources:
                raise Retryable("MountSourceMissing", f"mount {mount.target}: {mount.source!r} does not exist")

    def start(self, uid: str, attempt: int) -> None:
        with self.engine.call("start"):
            found = [container for container in self._ours(uid) if container.seen.attempt == attempt]
            if not found:
                raise Retryable("WorkloadNotFound", f"attempt {attempt} of {uid} is gone: it is made again")
            container = found[0]
            if container.seen.state is WorkloadState.RUNNING:
                return
            self.engine.changes.append(f"start {container.spec.name}")
            if container.seen.state is WorkloadState.PAUSED:
                self.engine.alter(container, state=WorkloadState.RUNNING)
                return
            self._check_sources(container.spec)
            self._ensure_network()
            self.engine.run(container)

    def stop(self, uid: str, *, grace: float) -> None:
        del grace
        with self.engine.call("stop"):
            for container in self._ours(uid):
                if container.seen.state in _ALIVE:
                    self.engine.end(container, 137 if uid in self.engine.stubborn else 143)
                    self.engine.changes.append(f"stop {container.spec.name}")

    def remove(self, uid: str) -> None:
        with self.engine.call("remove"):
            for container in self._ours(uid):
                del self.engine.containers[container.seen.name]
                self.engine.tell(container)
                self.engine.changes.append(f"remove {container.spec.name}")

    def remove_home(self, uid: str, name: str) -> None:
        home = self._home(name, uid)
        with self.engine.call("remove_home"):
            if (owner := self.engine.homes.get(home)) is None:
                return
            if owner != uid:
                raise Conflict("NameConflict", f"the volume {home!r} does not carry the uid {uid}: it is not ours")
            if any(container.spec.name == name for container in self._ours(uid)):
                raise Retryable("HomeInUse", f"the volume {home!r} is in use by a container")
            del self.engine.homes[home]
            self.engine.changes.append(f"remove_home {name}")

    def update(self, uid: str, limits: Limits) -> None:
        with self.engine.call("update"):
            for container in self._ours(uid):
                self._check(limits)
                if container.seen.limits != limits:
                    self.engine.alter(container, limits=limits)
                    self.engine.changes.append(f"update {container.spec.name}")

    def image_id(self, image: str) -> str | None:
        with self.engine.call("image_id"):
            return self.engine.images.get(image)

    def _running(self, uid: str) -> _Container:
        for container in self._ours(uid):
            if container.seen.state is WorkloadState.RUNNING:
                return container
        raise Retryable("WorkloadNotRunning", f"no workload of {uid} is running: start the instance")

    def exec(self, uid: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        del timeout
        with self.engine.call("exec"):
            self._running(uid)
            program = self.engine.programs.get(argv[0])
            return program(argv) if program is not None else ExecResult(127, b"not found\n")

    @contextmanager
    def attach(self, uid: str, argv: Sequence[str], *, columns: int, rows: int) -> Iterator[AttachStream]:
        del argv
        with self.engine.call("attach"):
            self._running(uid)
        terminal = FakeTerminal(columns, rows)
        try:
            yield terminal
        finally:
            terminal.close()

    def attach_argv(self, uid: str, argv: Sequence[str]) -> tuple[str, ...]:
        with self.engine.call("attach_argv"):
            return ("docker", "exec", "-it", self._running(uid).seen.name, *argv)

    def logs(self, uid: str, *, tail: int) -> bytes:
        with self.engine.call("logs"):
            return b"".join(self._ours(uid)[0].logs[-tail:]) if self._ours(uid) else b""

    def watch(self, stop: Event) -> Iterator[str | Resync]:
        with self.engine.subscribe(self.installation) as events:
            connected = False
            while not stop.is_set():
                if not connected and not self.engine.away:
                    connected = True
                    yield Resync()
                try:
                    uid = events.get(timeout=0.02)
                except queue.Empty:
                    continue
                if uid is None:
                    connected = False
                elif connected:
                    yield uid
