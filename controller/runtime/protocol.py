"""The one seam between the loop and whatever runs the workloads.

The loop knows only this module. ``docker/`` implements it for Docker; the contract suite
``tests/contracts/runtime.py`` is run against every implementation and against the fake.

Every verb is idempotent ("already so" is success) and is keyed by the instance's uid, which is also the
precondition of every destructive verb: labels are an index, the uid is the authority. A verb that cannot
know raises :class:`~controller.errors.Unavailable`; nothing may be concluded from that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from threading import Event
from typing import Protocol

from controller.errors import Retryable

LABEL_INSTALLATION = "cc-orchestrator.installation"
LABEL_INSTANCE = "cc-orchestrator.instance"
LABEL_UID = "cc-orchestrator.uid"
LABEL_ATTEMPT = "cc-orchestrator.attempt"
LABEL_SPEC_HASH = "cc-orchestrator.spec-hash"
LABEL_MANIFEST = "cc-orchestrator.manifest"
"""The instance as it was declared, without what may be secret; a lost database is rebuilt from it."""


MAX_OUTPUT = 1024**2
"""Bytes of a command's output that are kept."""


class WorkloadState(StrEnum):
    """Life of a workload as its runtime tells it.

    ``LOST`` means that the place it ran on has gone silent and it may still be running there; Docker on one
    box never reports it.
    """

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    LOST = "lost"

    @property
    def alive(self) -> bool:
        """Whether it is at work, or would be again without being started."""
        return self in {WorkloadState.RUNNING, WorkloadState.PAUSED}


@dataclass(frozen=True, slots=True)
class Limits:
    """Kernel limits: ``cpus`` in cores, ``memory`` in bytes without swap, ``pids`` processes and threads."""

    cpus: float
    memory: int
    pids: int


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount; the source must exist, a runtime refuses to invent it."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """Everything a runtime needs to make one workload.

    Attributes:
        name: the instance's name; the runtime derives its own object names from it and the attempt.
        spec_hash: covers exactly the fields whose change needs a new workload; kept as a label.
        env: not secret; shows up in ``docker inspect``.
        user: ``(uid, gid)`` of the processes inside.
    """

    name: str
    uid: str
    attempt: int
    image: str
    spec_hash: str
    limits: Limits
    mounts: tuple[Mount, ...]
    user: tuple[int, int]
    workdir: str
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as the runtime sees it now.

    Attributes:
        id: the runtime's own identifier, unique for ever.
        name: what a person types, for example in ``docker exec``.
        exit_code: of the last run; ``None`` while running or never started.
        oom_killed: the kernel killed the first process for want of memory. A process killed inside a
            container that lives on is told by the agent's report, not here.
        notice: what a person should know of one that is well, such as limits that nobody enforces.
        ending: its first process has ended a moment ago, and the runtime is still clearing up after it. How it ended
            will be known when that is done; until then nothing can be done with it.
    """

    id: str
    name: str
    instance: str
    uid: str
    attempt: int
    state: WorkloadState
    spec_hash: str
    limits: Limits
    image_id: str | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    notice: str | None = None
    ending: bool = False


class BelongingKind(StrEnum):
    """What a runtime leaves on a machine; ``WORKLOAD`` is a container or a group of processes."""

    WORKLOAD = "workload"
    HOME = "home"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Belonging:
    """One object a runtime made, as ``belongings`` found it.

    Attributes:
        id: the runtime's own identifier, unique for ever.
        name: what a person types.
        instance: name of the instance it was made for; empty for what instances share.
        uid: of that instance; empty likewise.
        installation: whose it is; a runtime tells only of its own.
        running: something is alive in it.
        labels: everything it was marked with.
    """

    kind: BelongingKind
    id: str
    name: str
    instance: str
    uid: str
    installation: str
    created_at: datetime | None
    running: bool
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecResult:
    """Outcome of a short command inside a workload."""

    exit_code: int
    output: bytes


class Resync:
    """What ``watch`` yields when events may have been missed: look at everything again."""


class AttachStream(Protocol):
    """A terminal inside a workload: bytes both ways, binary-clean."""

    def read(self, size: int = 65536) -> bytes:
        """Return the next bytes, ``b""`` at the end; blocks."""

    def write(self, data: bytes) -> None:
        """Send keystrokes."""

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's new size."""


def predecessor_alive(spec: WorkloadSpec, alive: str) -> Retryable:
    """Return the error for a workload that must not be made while another attempt of the same uid runs."""
    message = (
        f"attempt {spec.attempt} of {spec.name!r} is not made while {alive!r} runs: what is there is looked at again"
    )
    return Retryable("PredecessorAlive", message, delay=1.0)


def not_running(why: str) -> Retryable:
    """Return the error for a command beside a workload that cannot take one now."""
    return Retryable("WorkloadNotRunning", f"nothing runs there now ({why}): wait until the instance is Ready")


class Runtime(Protocol):
    """See the module's docstring for the rules all verbs share."""

    def prepare(self) -> None:
        """Make what all workloads share (the network). Called at start and after the engine came back."""

    def inspect(self, uid: str) -> tuple[Workload, ...]:
        """Return all workloads labelled with the uid, newest attempt first; ``()`` only when surely absent."""

    def list(self) -> tuple[Workload, ...]:
        """Return every workload of this installation, in one call."""

    def create(self, spec: WorkloadSpec) -> None:
        """Make the workload without starting it; nothing half-made stays behind after an error.

        Raises:
            Terminal: ``ImageNotFound``, ``InvalidLimits``, ``InvalidWorkload``.
            Retryable: ``MountSourceMissing``: a source is not there (now); ``PredecessorAlive``: another attempt of the
                uid runs, so whoever asked for this one has seen an old picture.
            Conflict: ``NameConflict``: the name is taken by something that is not ours.
        """

    def start(self, uid: str, attempt: int) -> None:
        """Start or start again; starting a running one is success; a paused one is resumed.

        Raises:
            Retryable: ``WorkloadNotFound``: there is no such attempt; ``MountSourceMissing``.
            Terminal: ``InvalidWorkload``.
        """

    def stop(self, uid: str, *, grace: float) -> None:
        """Ask every workload of the uid to end, and kill it after ``grace`` seconds."""

    def remove(self, uid: str) -> None:
        """Remove every workload of the uid, running or not; HOME stays."""

    def remove_home(self, uid: str, name: str) -> None:
        """Remove the HOME that outlives workloads.

        Raises:
            Conflict: ``NameConflict``: it does not carry the uid.
            Retryable: ``HomeInUse``: remove the workloads first.
        """

    def update(self, uid: str, limits: Limits) -> None:
        """Apply limits to the uid's workloads, to a running one at once; equal limits change nothing.

        Raises:
            Terminal: ``InvalidLimits``.
        """

    def belongings(self) -> tuple[Belonging, ...]:
        """Return everything this installation has on the machine, wanted or not; a look that fails raises."""

    def discard(self, belonging: Belonging) -> None:
        """Remove exactly this object; one that is gone, or whose name has another id by now, is left alone.

        Raises:
            Conflict: ``StillRunning``: something is alive in it; ``NameConflict``: it is not what it was.
            Retryable: ``StillInUse``.
        """

    def image_id(self, image: str) -> str | None:
        """Return the identifier of a local image, or ``None`` when it is surely not there."""

    def exec(self, uid: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        """Run a short command inside; for people's requests, never on a timer (an exec costs 40 ms of CPU).

        Raises:
            Retryable: ``WorkloadNotRunning``; ``ExecTimeout``: it was killed.
        """

    def attach(self, uid: str, argv: Sequence[str], *, columns: int, rows: int) -> AbstractContextManager[AttachStream]:
        """Run an interactive command inside and return its terminal."""

    def attach_argv(self, uid: str, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the command a person runs on this host to attach a terminal."""

    def logs(self, uid: str, *, tail: int) -> bytes:
        """Return the last lines the workload printed."""

    def watch(self, stop: Event) -> Iterator[str | Resync]:
        """Yield the uid of each workload that changed, and :class:`Resync` at (re)connection.

        Never raises for an engine that went away: it reconnects with backoff until ``stop`` is set. Ends
        within a second of ``stop``.
        """
