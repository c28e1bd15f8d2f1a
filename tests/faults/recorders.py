"""What a look afterwards cannot tell: the engine's events (I3, I7), the controller's CPU (I7), writes at rest (I8)."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.deadline import eventually
from support.engine_proxy import EngineProxy

from .facts import UID, run

GIT_WRITES = frozenset(
    {
        *("update-ref", "read-tree", "update-index", "fast-import", "unpack-objects", "index-pack", "pack-objects"),
        *("checkout", "commit", "merge", "reset", "clean", "branch", "gc", "prune", "fetch", "init", "clone", "add"),
        *("worktree add", "worktree remove", "worktree lock", "worktree unlock", "worktree prune", "worktree move"),
    }
)
_REQUEST = re.compile(rb"(?<![^\r\n])(GET|HEAD|POST|PUT|DELETE) (/\S*) HTTP/1\.1\r\n")
_HARMLESS_POST = re.compile(r"/exec/[^/]+/resize")
_SETTLE_SECONDS = 20
_POLL_SECONDS = 0.02


class EventRecorder:
    """Records the engine's container events while the ``with`` block runs.

    Args:
        label: ``KEY=VALUE`` that the containers carry; everything that carries our uid otherwise.
        path: also written there, one JSON object a line, for ``verify --events``.
    """

    def __init__(self, label: str | None = None, path: Path | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._label = label or UID
        self._path = path
        self._running: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        argv = ["docker", "events", "--format", "{{json .}}"]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self._reader = threading.Thread(target=self._read, name="docker-events", daemon=True)
        self._reader.start()
        self.catch_up()
        listed = ["docker", "ps", "--no-trunc", "--filter", f"label={self._label}"]
        for line in run([*listed, "--format", f'{{{{.ID}}}} {{{{.Label "{UID}"}}}}']).decode().splitlines():
            container, _, uid = line.partition(" ")
            self._running[container] = uid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._reader is not None:
            if kind is None:
                self.catch_up()
            self._process.terminate()
            self._process.wait(10)
            self._reader.join(10)
            if self._process.stdout is not None:
                self._process.stdout.close()
        if self._path is not None:
            initial = [{"running": self._running}]
            lines = (json.dumps(each) for each in [*initial, *self.events])
            self._path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def catch_up(self) -> None:
        """Wait until everything that happened so far is recorded: the engine tells events in order."""
        name = f"cco-fence-{secrets.token_hex(6)}"

        def seen() -> bool:  # the stream may not be listening yet: try anew
            run(["docker", "volume", "create", "--label", "cco-test=1", name])
            run(["docker", "volume", "rm", name])
            pause = threading.Event()
            for _ in range(25):
                if any(each["Actor"]["ID"] == name for each in list(self.events)):
                    return True
                pause.wait(_POLL_SECONDS)
            return False

        eventually(seen, timeout=_SETTLE_SECONDS, what="the engine's events are read")

    def _read(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        for line in self._process.stdout:
            event = json.loads(line)
            if event["Type"] != "container" or self._is_watched(event["Actor"]["Attributes"]):
                self.events.append(event)

    def _is_watched(self, labels: Mapping[str, str]) -> bool:
        key, equals, value = self._label.partition("=")
        return labels.get(key) == value if equals else key in labels

    def overlaps(self) -> list[str]:
        """Return the moments at which two containers of one uid ran."""
        return overlaps(self._running, self.events)

    def starts(self) -> dict[str, list[float]]:
        """Return when containers of each uid were started, in seconds."""
        return starts(self.events)


def overlaps(running: Mapping[str, str], events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the moments at which two containers of one uid ran; pure.

    Args:
        running: container to uid, before the first event.
        events: as the engine tells them, in order.
    """
    alive = {container: uid for container, uid in running.items() if uid}
    found: list[str] = []
    for event in events:
        actor = event["Actor"]
        uid = actor["Attributes"].get(UID)
        if event["Type"] != "container" or not uid:
            continue
        if event["Action"] == "start":
            others = [each for each, whose in alive.items() if whose == uid and each != actor["ID"]]
            if others:
                found.append(f"{actor['Attributes'].get('name')} was started while {others[0][:12]} of {uid} ran")
            alive[actor["ID"]] = uid
        elif event["Action"] in {"die", "destroy"}:
            alive.pop(actor["ID"], None)
    return found


def starts(events: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return uid to the times of its starts, in seconds; pure."""
    found: dict[str, list[float]] = {}
    for event in events:
        uid = event["Actor"]["Attributes"].get(UID)
        if (event["Type"], event["Action"]) == ("container", "start") and uid:
            found.setdefault(uid, []).append(event["timeNano"] / 1e9)
    return found


def load_events(path: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return what :class:`EventRecorder` wrote: the containers that ran at its start, and the events."""
    first, *events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return first["running"], events


def cpu_share(pid: int, seconds: float) -> float:
    """Return the share of one core that a process, without its children, takes over some seconds."""
    before, began = _ticks(pid), time.monotonic()
    threading.Event().wait(seconds)
    return (_ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Requests:
    """Counts what is asked of an engine through a proxy: ``DOCKER_HOST`` of the watched process is its ``url``."""

    def __init__(self, folder: Path) -> None:
        self.seen: list[str] = []
        self._proxy = EngineProxy(folder / "engine.sock", heard=self._hear)

    @property
    def url(self) -> str:
        return self._proxy.url

    def __enter__(self) -> Self:
        self._proxy.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._proxy.__exit__(kind, error, trace)

    def _hear(self, data: bytes) -> None:
        self.seen += [f"{method.decode()} {path.decode()}" for method, path in _REQUEST.findall(data)]

    def writes(self) -> list[str]:
        """Return the requests that change something."""
        return [
            each for each in self.seen if not each.startswith(("GET ", "HEAD ")) and not _HARMLESS_POST.search(each)
        ]


class GitLog:
    """Logs every git that a process starts: ``folder`` goes first into its ``PATH``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "git.log"
        real = shutil.which("git")
        folder.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self.path.chmod(0o666)  # git runs as the repository's owner
        shim = folder / "git"
        shim.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" | tr "\\n" " " >>{self.path}\necho >>{self.path}\n', "ascii")
        with shim.open("a", encoding="ascii") as stream:
            stream.write(f'exec {real} "$@"\n')
        shim.chmod(0o755)

    def lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8", errors="replace").splitlines()


def git_command(line: str) -> str:
    """Return the command of a git's arguments, two words where the first alone does not tell whether it writes."""
    words = iter(line.split())
    for word in words:
        if word == "-c":
            next(words, None)
        elif not word.startswith("-"):
            return f"{word} {next(words, '')}" if word == "worktree" else word
    return ""


def git_writes(lines: Sequence[str]) -> list[str]:
    """Return those git commands that change something."""
    return [command for command in map(git_command, lines) if command in GIT_WRITES]


class Quiet:
    """Watches one installation at rest: whatever is written between :meth:`begin` and :meth:`writes` is told.

    Usage (CPU, memory) is a measurement that changes by itself: it is the one column that may be written.
    """

    def __init__(self, database: Path, requests: Requests | None = None, log: GitLog | None = None) -> None:
        self._connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
        self._requests = requests
        self._log = log
        self._before: dict[str, list[tuple[Any, ...]]] = {}
        self._asked = 0
        self._ran = 0

    def begin(self) -> None:
        """Begin, or begin anew."""
        self._before = self._dump()
        self._asked = len(self._requests.writes()) if self._requests is not None else 0
        self._ran = len(self._log.lines()) if self._log is not None else 0

    def close(self) -> None:
        self._connection.close()

    def writes(self) -> list[str]:
        """Return everything that was written since."""
        after = self._dump()
        found = [f"SQL: table {table} was changed" for table in self._before if after[table] != self._before[table]]
        if self._requests is not None:
            found += [f"Docker: {each}" for each in self._requests.writes()[self._asked :]]
        if self._log is not None:
            found += [f"git: {each}" for each in git_writes(self._log.lines()[self._ran :])]
        return found

    def watch(self, seconds: float) -> list[str]:
        """Begin, wait, and return what was written."""
        self.begin()
        threading.Event().wait(seconds)
        return self.writes()

    def _dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return all rows without the columns that a new measurement of usage changes."""
        measured = {"usage", "resource_version", "revision", "object_revision"}
        tables = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        found = {}
        for (table,) in tables.fetchall():
            names = [row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")]
            columns = ", ".join(f'"{name}"' for name in names if name not in measured)
            found[table] = self._connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()  # noqa: S608  # names from the database itself
        return found
