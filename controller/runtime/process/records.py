"""What is known of each workload, as small files below ``STATE/process``; everything a restarted controller needs.

One flat folder, so that one inotify watch sees every change, and names that begin with the workload's name::

    workloads/cco-web-1.workload   what it is: written once, at creation (runtime)
    workloads/cco-web-1.limits     its limits now (runtime)
    workloads/cco-web-1.run        the newest run: who is the shim, who the agent, since when (shim)
    workloads/cco-web-1.state      rewritten when somebody stops or continues the agent (shim); only a signal
    workloads/cco-web-1.exit       how the run of that identifier ended (shim)
    workloads/cco-web-1.alive      locked and held open by the shim as long as it lives; its end is an event, too
    workloads/cco-web-1.log[.1]    what the agent printed, bounded (shim)
    homes/...                      see ``homes``

Every file appears whole: written aside, flushed, renamed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.errors import Unavailable
from controller.runtime.protocol import Limits

from .processes import Identity

SUFFIXES = ("exit", "state", "run", "limits", "log", "log.1", "alive", "workload")
"""In the order of a removal: as long as the last one is there, the removal can be repeated."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a workload is; never changes."""

    id: str
    installation: str
    name: str
    instance: str
    uid: str
    attempt: int
    image_id: str
    spec_hash: str
    workdir: str
    user: tuple[int, int]
    created_at: str
    sources: tuple[str, ...] = ()
    run_dir: str | None = None
    git_dir: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workload.

    Attributes:
        id: also in ``Exit``, which so cannot be taken for that of another run.
        scratch: folder of the run's sockets and secrets.
        cgroups: folder by controller (version 1) or under ``unified`` (version 2); empty without cgroups.
        notice: what a person should know, such as limits that nobody enforces.
    """

    id: str
    shim: Identity
    agent: Identity
    started_at: str
    scratch: str
    cgroups: Mapping[str, str]
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended."""

    run: str
    exit_code: int
    oom_killed: bool
    finished_at: str
    error: str | None = None


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat()


class Records:
    """The files of all workloads below one folder.

    Attributes:
        root: ``STATE/process``.
        folder: where the workloads' files are.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "workloads"
        self._cache: dict[str, tuple[tuple[int, int], Record | None]] = {}

    def prepare(self) -> None:
        """Make the folder; idempotent.

        Raises:
            Unavailable: it cannot be made.
        """
        with self._known():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def check(self) -> None:
        """Raise Unavailable unless the folder can be read: only then is something that is not in it absent."""
        with self._known():
            os.scandir(self.folder).close()

    def path(self, name: str, suffix: str) -> Path:
        """Return the path of one of a workload's files."""
        return self.folder / f"{name}.{suffix}"

    def all(self) -> list[Record]:
        """Return every record that can be read; what cannot was not written by us.

        Raises:
            Unavailable: the folder cannot be read.
        """
        with self._known():
            names = [entry.name for entry in os.scandir(self.folder) if entry.name.endswith(".workload")]
            found = [self.read(name.removesuffix(".workload")) for name in sorted(names)]
        return [record for record in found if record is not None]

    def read(self, name: str) -> Record | None:
        """Return one record; ``None`` when it is not there or nothing of ours."""
        path = self.path(name, "workload")
        with self._known():
            try:
                seen = path.stat()
            except FileNotFoundError:
                self.folder.stat()  # only in a folder that is there something can be absent
                self._cache.pop(name, None)
                return None
            signature = (seen.st_ino, seen.st_mtime_ns)
            known = self._cache.get(name)
            if known is None or known[0] != signature:
                known = (signature, _record(path))
                self._cache[name] = known
            return known[1]

    def add(self, record: Record, limits: Limits) -> bool:
        """Write a new workload; returns ``False``, having changed nothing, when the name is taken."""
        with self._known():
            path = self.path(record.name, "workload")
            if path.exists():
                return False
            self.write_limits(record.name, limits)
            try:
                with _aside(path, dataclasses.asdict(record)) as made:
                    os.link(made, path)
            except FileExistsError:
                return False
            _flush_folder(self.folder)
            return True

    def limits(self, name: str) -> Limits:
        """Return the limits in force."""
        data = self._read(name, "limits") or {}
        return Limits(float(data.get("cpus", 0)), int(data.get("memory", 0)), int(data.get("pids", 0)))

    def write_limits(self, name: str, limits: Limits) -> None:
        """Replace the limits."""
        self._write(name, "limits", dataclasses.asdict(limits))

    def run(self, name: str) -> Run | None:
        """Return the newest run, if it was ever started."""
        data = self._read(name, "run")
        if data is None:
            return None
        with contextlib.suppress(KeyError, TypeError):
            return Run(**{**data, "shim": Identity(**data["shim"]), "agent": Identity(**data["agent"])})
        return None

    def write_run(self, name: str, run: Run) -> None:
        """Replace the newest run."""
        self._write(name, "run", dataclasses.asdict(run))

    def exit(self, name: str, run: Run) -> Exit | None:
        """Return how that very run ended, as far as it was written down."""
        data = self._read(name, "exit")
        with contextlib.suppress(TypeError):
            if data is not None and data.get("run") == run.id:
                return Exit(**data)
        return None

    def write_exit(self, name: str, ending: Exit) -> None:
        """Write how a run ended."""
        self._write(name, "exit", dataclasses.asdict(ending))

    def tell(self, name: str) -> None:
        """Let watchers know that something changed which no other file tells; where that fails, they look later."""
        with contextlib.suppress(Unavailable):  # a full disk must not end the shim, and with it the workload
            self._write(name, "state", {"at": now()})

    def forget(self, name: str) -> None:
        """Remove a workload's files; idempotent."""
        with self._known():
            unfinished = tuple(f".{name}.{suffix}." for suffix in SUFFIXES)
            for entry in list(os.scandir(self.folder)):
                if entry.name.startswith(unfinished):  # of one that was killed while it wrote
                    Path(entry.path).unlink(missing_ok=True)
            for suffix in SUFFIXES:
                self.path(name, suffix).unlink(missing_ok=True)

    def _read(self, name: str, suffix: str) -> dict[str, Any] | None:
        with self._known():
            try:
                data = json.loads(self.path(name, suffix).read_bytes())
            except FileNotFoundError:
                self.folder.stat()
                return None
            except ValueError:
                return None
        return data if isinstance(data, dict) else None

    def _write(self, name: str, suffix: str, data: Mapping[str, Any]) -> None:
        with self._known():
            path = self.path(name, suffix)
            with _aside(path, data) as made:
                made.replace(path)

    @contextlib.contextmanager
    def _known(self) -> Iterator[None]:
        """Turn a folder that cannot be used into the one word for it; nothing may be concluded then."""
        try:
            yield
        except OSError as error:
            text = error.strerror or str(error)
            way_out = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "put it back as it was"
            message = f"the folder {self.folder} cannot be used ({text}): {way_out}; it is tried again"
            raise Unavailable("RuntimeUnavailable", message) from error


def _record(path: Path) -> Record | None:
    try:
        data = json.loads(path.read_bytes())
        return Record(**{**data, "user": tuple(data["user"]), "sources": tuple(data["sources"])})
    except (ValueError, KeyError, TypeError, IsADirectoryError):
        return None


@contextlib.contextmanager
def _aside(path: Path, data: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a file beside the path that holds the data; whatever happens, nothing stays of it under that name."""
    aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with aside.open("x", encoding="utf-8") as file:
            json.dump(data, file)
            file.flush()
            # After a loss of power a name must not point to nothing: that would look like a stranger's file.
            os.fsync(file.fileno())
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
