"""What the runtime contract needs from the outside of a runtime, and the ways it waits and watches."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from controller.runtime.protocol import Resync, Runtime, Workload, WorkloadSpec

T = TypeVar("T")

PATIENCE = 15.0
KILLED = 137
EVERY_BYTE = bytes(range(256))


class World(Protocol):
    """An engine as everybody sees it but the runtime under test: people, accidents, other installations.

    Attributes:
        runtime: the runtime under test.
        stranger: another installation of cc-orchestrator on the same engine.
    """

    runtime: Runtime
    stranger: Runtime

    def restarted(self) -> Runtime:
        """Return the runtime of the same installation as a restarted controller would make it."""

    def spec(self, name: str = "web", *, stubborn: bool = False) -> WorkloadSpec:
        """Return a workload that prints ``started`` and waits; a stubborn one ignores the polite signal."""

    def occupy(self, spec: WorkloadSpec) -> Callable[[], object]:
        """Let something foreign take the name the spec's workload would have; the result tells its state."""

    def occupy_home(self, spec: WorkloadSpec) -> Callable[[], object]:
        """Let something foreign take the name the spec's HOME would have; the result tells its state."""

    def crash(self, uid: str, exit_code: int) -> None:
        """Let the first process end by itself."""

    def kill(self, uid: str) -> None:
        """Kill the first process from outside."""

    def kill_unseen(self, uid: str) -> None:
        """Kill the first process while nobody can reach the engine."""

    def exhaust_memory(self, uid: str) -> None:
        """Let the first process take more memory than it may."""

    def pause_by_hand(self, uid: str) -> None: ...

    def remove_by_hand(self, uid: str) -> None: ...

    def remove_network_by_hand(self) -> None: ...

    def has_home(self, spec: WorkloadSpec) -> bool: ...

    def make_source(self) -> str:
        """Return a folder on the host that can be mounted."""

    def remove_source(self, path: str) -> None: ...

    def cut_connections(self) -> None:
        """Break every connection to the engine once."""

    def go_away(self) -> None:
        """Let nobody reach the engine until :meth:`come_back`."""

    def come_back(self) -> None: ...

    def argv_printing(self, data: bytes) -> Sequence[str]: ...

    def argv_exiting(self, code: int) -> Sequence[str]: ...

    def argv_echoing(self) -> Sequence[str]:
        """Return a command that prints ``ready`` and then, unchanged, each byte it is sent."""

    def argv_measuring(self) -> Sequence[str]:
        """Return a command that prints ``ready``, and at each line it is sent ``ROWS COLUMNS`` of its terminal."""


def twin(spec: WorkloadSpec) -> WorkloadSpec:
    """Return an impostor: the same name, another uid that begins alike."""
    return dataclasses.replace(spec, uid=spec.uid[:8] + str(uuid.uuid4())[8:])


def launch(world: World, spec: WorkloadSpec) -> Workload:
    """Create, start, and return what is seen."""
    world.runtime.create(spec)
    world.runtime.start(spec.uid, spec.attempt)
    return look(world, spec)


def look(world: World, spec: WorkloadSpec) -> Workload:
    """Return the only workload of the uid."""
    (seen,) = world.runtime.inspect(spec.uid)
    return seen


def eventually(ask: Callable[[], T], *, seconds: float = PATIENCE) -> T:
    """Return the first true answer, or fail with the last one after the deadline."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {seconds} s; last answer: {answer!r}"
        threading.Event().wait(0.02)
    return answer


class Watcher:
    """Collects what a watch yields, in a thread of its own."""

    def __init__(self, runtime: Runtime) -> None:
        self._stop = threading.Event()
        self._seen: queue.SimpleQueue[str | Resync] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(runtime,), daemon=True)
        self._thread.start()

    def _run(self, runtime: Runtime) -> None:
        try:
            for change in runtime.watch(self._stop):
                self._seen.put(change)
        except BaseException as error:  # noqa: BLE001  # shown by finish(), whatever it was
            self._error = error

    def expect_resync(self) -> None:
        """Wait for the word that events may have been missed."""
        while not isinstance(self._seen.get(timeout=PATIENCE), Resync):
            pass

    def expect(self, uid: str, *, but_never: str | None = None) -> None:
        """Wait for a change of the uid."""
        while (change := self._seen.get(timeout=PATIENCE)) != uid:
            assert change != but_never

    def drain(self) -> None:
        """Forget what came so far, after it was quiet for a moment."""
        while True:
            try:
                self._seen.get(timeout=0.2)
            except queue.Empty:
                return

    def finish(self) -> float:
        """Ask the watch to end and return how long it took, in seconds."""
        begin = time.monotonic()
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the watch does not end"
        if self._error is not None:
            raise self._error
        return time.monotonic() - begin


@contextmanager
def watching(runtime: Runtime) -> Iterator[Watcher]:
    """Watch during the block, after the first Resync."""
    watcher = Watcher(runtime)
    try:
        watcher.expect_resync()
        yield watcher
    finally:
        watcher.finish()
