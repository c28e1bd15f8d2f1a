"""The verbs of the Runtime protocol for processes of this machine.

The loop (``controller/reconcile``) and the streams come in here. Every verb looks at the records and at ``/proc``
first; nothing is remembered between two calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from controller.errors import Conflict, Retryable, Unavailable
from controller.runtime.protocol import (
    AttachStream,
    Belonging,
    ExecResult,
    Limits,
    Resync,
    Workload,
    WorkloadSpec,
    WorkloadState,
    not_running,
    predecessor_alive,
)

from . import logs
from .belongings import discard, find_belongings
from .cgroups import Cgroup
from .environment import Environment
from .events import watch_records
from .homes import Homes, Owner
from .records import Record, Records, Run
from .refusals import apply_limits, check_limits, check_sources
from .runs import Runs, resume
from .streams import Place, open_terminal, run_command

if TYPE_CHECKING:
    from controller.settings import Settings

logger = logging.getLogger(__name__)

NOT_ISOLATED = "not isolated, a process of this machine"
_MAX_LOG_LINES = 10_000


class _Lock:
    """One at a time; in a class, because a lock itself cannot be referred to weakly."""

    def __init__(self) -> None:
        self.lock = threading.RLock()


_locks: WeakValueDictionary[tuple[Path, str], _Lock] = WeakValueDictionary()
_finding = threading.Lock()


class ProcessRuntime:
    """Processes of one installation; safe to use from many threads.

    Args:
        root: ``STATE/process``; made where its parent is.
        installation: identifier of the store; only workloads that carry it are ever seen or touched.
        prefix: first part of the names of workloads and HOME folders.
        environment: what workloads are made of on this machine.
    """

    def __init__(self, *, root: Path, installation: str, prefix: str, environment: Environment) -> None:
        self._root = root
        self._installation = installation
        self._prefix = prefix
        self._environment = environment
        self._records = Records(root)
        self._homes = Homes(root / "homes", prefix)
        self._runs = Runs(self._records, self._homes, environment)
        with contextlib.suppress(Unavailable):  # the first verb will tell
            self._records.prepare()
            self._open_ways()

    @classmethod
    def from_settings(cls, settings: Settings, installation: str) -> ProcessRuntime:
        """Return the runtime the settings describe."""
        return cls(
            root=settings.state_dir / "process",
            installation=installation,
            prefix=settings.container_prefix,
            environment=Environment(
                state_dir=settings.state_dir, image=settings.instance_image, claude=settings.claude
            ),
        )

    # Looking ------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folder of the records, unless it went away: then nothing is known."""
        self._records.check()
        self._open_ways()

    def _open_ways(self) -> None:
        for record in self._records.all():
            self._environment.open_ways(record)

    def inspect(self, uid: str) -> tuple[Workload, ...]:
        """Return the uid's workloads, newest attempt first."""
        return tuple(sorted((self._workload(each) for each in self._find(uid)), key=lambda each: -each.attempt))

    def list(self) -> tuple[Workload, ...]:
        """Return every workload of this installation."""
        return tuple(self._workload(each) for each in self._find())

    def _find(self, uid: str | None = None) -> Sequence[Record]:
        return [
            record
            for record in self._records.all()
            if record.installation == self._installation and uid in (None, record.uid)
        ]

    def _workload(self, record: Record) -> Workload:
        run = self._records.run(record.name)
        seen = Workload(
            id=record.id,
            name=record.name,
            instance=record.instance,
            uid=record.uid,
            attempt=record.attempt,
            state=WorkloadState.CREATED,
            spec_hash=record.spec_hash,
            limits=self._records.limits(record.name),
            image_id=record.image_id,
        )
        if run is None:
            return seen
        state, ending = self._runs.life(record, run)
        started_at = datetime.fromisoformat(run.started_at)
        return dataclasses.replace(seen, state=state, started_at=started_at, notice=_notice(run), **ending)

    def image_id(self, image: str) -> str | None:
        """Return what stands for the programs of this machine; any image but the default one is not here."""
        self._records.check()
        return self._environment.image_id(image)

    # Changing -----------------------------------------------------------------------------------------------

    def create(self, spec: WorkloadSpec) -> None:
        """Write the workload down, with its HOME where that is not there yet.

        Raises:
            Terminal: ``ImageNotFound``, ``ProgramMissing``, ``InvalidLimits``, ``InvalidWorkload``.
            Retryable: ``MountSourceMissing``, ``PredecessorAlive``.
            Conflict: ``NameConflict``.
        """
        with self._alone(spec.uid):
            for record in self._find(spec.uid):
                if record.attempt == spec.attempt:
                    return
                if self._workload(record).state.alive:
                    raise predecessor_alive(spec, record.name)
            name = f"{self._prefix}-{spec.name}-{spec.attempt}"
            self._check_name(name)
            image_id = self._environment.require(spec.image)
            check_limits(spec.limits)
            check_sources([mount.source for mount in spec.mounts])
            record = self._environment.record(spec, name, self._installation, image_id)
            owner = Owner(self._installation, spec.name, spec.uid, record.created_at)
            made = self._homes.make(owner, self._environment.user(record))
            try:
                self._environment.open_ways(record)
                self._environment.check_ways(record, self._homes.path(spec.name, spec.uid))
                if not self._records.add(record, spec.limits):
                    self._check_name(name)
            except BaseException:
                if made:
                    self._homes.remove(owner)
                raise
        logger.info("created the workload", extra={"cco_instance": spec.name, "cco_workload": name})

    def _check_name(self, name: str) -> None:
        """Refuse a name that is taken."""
        path = self._records.path(name, "workload")
        if os.path.lexists(path):
            raise Conflict(
                "NameConflict",
                f"{path} exists and was not made for this instance: it is left alone; rename the instance, or look "
                "into the file and move it away",
            )

    def start(self, uid: str, attempt: int) -> None:
        """Start a run of the workload; see the protocol.

        Raises:
            Retryable: ``WorkloadNotFound``, ``MountSourceMissing``.
            Terminal: ``InvalidWorkload``, ``ProgramMissing``.
        """
        with self._alone(uid):
            record = next((each for each in self._find(uid) if each.attempt == attempt), None)
            if record is None:
                message = f"attempt {attempt} of {uid} is gone: it is made again"
                raise Retryable("WorkloadNotFound", message)
            run = self._records.run(record.name)
            state = WorkloadState.CREATED if run is None else self._runs.life(record, run)[0]
            if state is WorkloadState.RUNNING:
                return
            if run is not None and state is WorkloadState.PAUSED:
                resume(run)
                return
            check_sources(record.sources)
            self._environment.open_ways(record)
            if run is not None:
                self._runs.clear(record, run)
            self._runs.begin(record)
        logger.info("started the workload", extra={"cco_instance": record.instance, "cco_workload": record.name})

    def stop(self, uid: str, *, grace: float) -> None:
        """Stop the uid's workloads: SIGTERM to each agent, SIGKILL after ``grace`` seconds; nothing of it stays."""
        for record in self._find(uid):
            run = self._records.run(record.name)
            if run is not None:
                self._runs.end(record, run, grace)

    def remove(self, uid: str) -> None:
        """Remove the uid's workloads, running or not; HOME stays."""
        with self._alone(uid):
            for record in self._find(uid):
                run = self._records.run(record.name)
                if run is not None:
                    self._runs.end(record, run, 0)
                self._records.forget(record.name)

    def remove_home(self, uid: str, name: str) -> None:
        """Remove the HOME folder.

        Raises:
            Conflict: ``NameConflict``, the folder is not this uid's.
            Retryable: ``HomeInUse``, ``RemovalFailed``.
        """
        with self._alone(uid):
            owner = Owner(self._installation, name, uid, "")
            users = self._find(uid)
            if self._homes.check(owner) and users:
                path = self._homes.path(name, uid)
                raise Retryable("HomeInUse", f"the folder {path} is in use by the workload {users[0].name}")
            self._homes.remove(owner)

    def update(self, uid: str, limits: Limits) -> None:
        """Set the limits of the uid's workloads, running or not; equal limits change nothing.

        Raises:
            Terminal: ``InvalidLimits``, also when the processes hold more memory than that.
        """
        with self._alone(uid):
            for record in self._find(uid):
                check_limits(limits)
                if self._records.limits(record.name) == limits:
                    continue
                run = self._records.run(record.name)
                if run is not None and self._runs.life(record, run)[0] is not WorkloadState.EXITED:
                    apply_limits(Cgroup(run.cgroups), limits)
                self._records.write_limits(record.name, limits)

    # Streams ------------------------------------------------------------------------------------------------

    def _place(self, uid: str) -> tuple[Run, Place]:
        for record in sorted(self._find(uid), key=lambda each: -each.attempt):
            run = self._records.run(record.name)
            if run is not None and self._runs.life(record, run)[0] is WorkloadState.RUNNING:
                home = self._homes.path(record.instance, record.uid)
                env = self._environment.variables(record, home, run.scratch)
                return run, Place(env, record.workdir, self._environment.user(record), Cgroup(run.cgroups))
        raise not_running("no process of the instance is running")

    def exec(self, uid: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        """Run a command beside the workload; see :func:`~.streams.run_command`."""
        return run_command(self._place(uid)[1], argv, timeout=timeout)

    @contextlib.contextmanager
    def _attached(self, uid: str, argv: Sequence[str], columns: int, rows: int) -> Iterator[AttachStream]:
        with open_terminal(self._place(uid)[1], argv, columns=columns, rows=rows) as terminal:
            yield terminal

    def attach(self, uid: str, argv: Sequence[str], *, columns: int, rows: int) -> AbstractContextManager[AttachStream]:
        """Run a program with a terminal; see :func:`~.streams.open_terminal`."""
        return self._attached(uid, argv, columns, rows)

    def attach_argv(self, uid: str, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the command with the workload's own tmux socket; a person's own tmux does not matter to it."""
        run, place = self._place(uid)
        folder = f"{run.scratch}/tmux"
        if argv[0] != "tmux":
            return ("env", f"TMUX_TMPDIR={folder}", *argv)
        owner = os.geteuid() if place.user is None else place.user[0]
        return ("tmux", "-S", f"{folder}/tmux-{owner}/default", *argv[1:])

    def logs(self, uid: str, *, tail: int) -> bytes:
        """Return the newest workload's last lines, at most 10,000; nothing when there is no workload."""
        for record in sorted(self._find(uid), key=lambda each: -each.attempt)[:1]:
            try:
                return logs.tail(self._records.path(record.name, "log"), min(tail, _MAX_LOG_LINES))
            except OSError as error:
                raise Unavailable("RuntimeUnavailable", f"the log cannot be read: {error.strerror}") from error
        return b""

    def watch(self, stop: threading.Event) -> Iterator[str | Resync]:
        """Yield what changed; see :mod:`~.events`."""
        return watch_records(self._records, self._installation, stop)

    # Orphans ------------------------------------------------------------------------------------------------

    def belongings(self) -> tuple[Belonging, ...]:
        """Return every workload and every HOME of this installation."""
        return find_belongings(self._records, self._homes, self._installation, self.list())

    def discard(self, belonging: Belonging) -> None:
        """Remove exactly this workload or HOME; see the protocol."""
        with self._alone(belonging.uid):
            discard(belonging, self._records, self._homes, self._installation, self._runs.is_alive)

    @contextlib.contextmanager
    def _alone(self, uid: str) -> Iterator[None]:
        """Let one verb at a time change an instance's workloads, whichever runtime object of this process does it."""
        self._records.check()
        with _finding:
            key = (self._root, uid)
            mine = _locks.get(key)
            if mine is None:
                mine = _locks[key] = _Lock()
        with mine.lock:
            yield


def _notice(run: Run) -> str:
    """Return what a person should know of every workload of this runtime."""
    return NOT_ISOLATED if run.notice is None else f"{NOT_ISOLATED}; {run.notice}"
