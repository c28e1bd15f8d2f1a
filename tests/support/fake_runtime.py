"""The one fake of the Runtime protocol: in memory, deterministic, and able to misbehave.

A test restarts the controller by making a second ``FakeRuntime`` over the same :class:`FakeEngine`; whatever goes
wrong is switched on at the engine by a method or field named for how it fails. ``tests/unit/runtime`` holds the
fake to the same contract suite as the real runtimes.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event

from controller.errors import Conflict, Retryable, Terminal
from controller.runtime.protocol import (
    AttachStream,
    ExecResult,
    Limits,
    Resync,
    Workload,
    WorkloadSpec,
    WorkloadState,
    predecessor_alive,
)

from .fake_belongings import FakeBelongings
from .fake_engine import ALIVE, HANG_SECONDS, IMAGE, FakeContainer, FakeEngine, unavailable

__all__ = ["IMAGE", "FakeEngine", "FakeRuntime", "FakeTerminal", "unavailable"]

MIN_MEMORY = 6 * 1024**2


class FakeTerminal:
    """A terminal whose program says ``ready`` and sends back what is typed; ``resize`` is kept in ``size``.

    The program ``measure`` answers with the size instead, rows first, as ``stty size`` does.
    """

    def __init__(self, columns: int, rows: int, *, measuring: bool = False) -> None:
        self.size = (columns, rows)
        self._measuring = measuring
        self._bytes: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest = b"ready"

    def read(self, size: int = 65536) -> bytes:
        """Return what was typed and not yet read; ``b""`` after the end."""
        data = self._rest or self._bytes.get(timeout=HANG_SECONDS)
        self._rest = data[size:]
        return data[:size]

    def write(self, data: bytes) -> None:
        """Type."""
        columns, rows = self.size
        self._bytes.put(f"{rows} {columns}".encode() if self._measuring else data)

    def resize(self, columns: int, rows: int) -> None:
        """Keep the size."""
        self.size = (columns, rows)

    def close(self) -> None:
        """End the program: readers see the end."""
        self._bytes.put(b"")


class FakeRuntime(FakeBelongings):
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
            self.engine.marks.pop(self.network, None)
            self.mark(self.network)
            self.engine.changes.append(f"network {self.network}")

    def inspect(self, uid: str) -> tuple[Workload, ...]:
        with self.engine.call("inspect"):
            return tuple(container.seen for container in self._ours(uid))

    def list(self) -> tuple[Workload, ...]:
        with self.engine.call("list"):
            mine = (each for each in self.engine.containers.values() if each.installation == self.installation)
            return tuple(container.seen for container in mine)

    def _ours(self, uid: str) -> Sequence[FakeContainer]:
        ours = [each for each in self.engine.of_uid(uid) if each.installation == self.installation]
        return sorted(ours, key=lambda container: -container.seen.attempt)

    def create(self, spec: WorkloadSpec) -> None:
        name = f"{self.prefix}-{spec.name}-{spec.attempt}"
        home = self._home(spec.name, spec.uid)
        with self.engine.call("create"):
            if any(container.seen.attempt == spec.attempt for container in self._ours(spec.uid)):
                return
            for container in self._ours(spec.uid):
                if container.seen.state in ALIVE:
                    raise predecessor_alive(spec, container.seen.name)
            if name in self.engine.containers or name in self.engine.foreign:
                raise Conflict("NameConflict", f"a container named {name!r} is there and is not ours: remove it")
            if spec.image not in self.engine.images:
                raise Terminal("ImageNotFound", f"image: {spec.image!r} is not on this machine: build or pull it")
            self._check(spec.limits)
            self._check_sources(spec)
            if self.engine.homes.setdefault(home, spec.uid) != spec.uid:
                raise Conflict("NameConflict", f"a volume named {home!r} is there and is not ours: remove it")
            self.mark(home, spec.name, spec.uid)
            self._ensure_network()
            self.engine.make(self.installation, name, spec, home=home, network=self.network)
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
                if container.seen.state in ALIVE:
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
            self.engine.marks.pop(home, None)
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

    def _running(self, uid: str) -> FakeContainer:
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
        with self.engine.call("attach"):
            self._running(uid)
        terminal = FakeTerminal(columns, rows, measuring=argv[0] == "measure")
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
                    uid = self.engine.next_event(events)
                except queue.Empty:
                    continue
                if uid is None:
                    connected = False
                elif connected:
                    yield uid
