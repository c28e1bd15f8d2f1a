"""What the container uses, read from its cgroup's files; some 50 µs, where `docker stats` takes a second.

Both versions of cgroups are read (Linux: Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst). Without
either, or where the cgroup is not the instance's alone, psutil adds up the processes below the agent's parent, which
is the parent of every orphan there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

_UNLIMITED = 1 << 60
"""cgroup v1 writes a number of this size where there is no limit."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One measurement; `cpu_percent` 100 is one core, `memory_limit_bytes` 0 is no limit."""

    cpu_percent: float = 0.0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    pids: int = 0
    oom_kills: int = 0


@dataclass(frozen=True, slots=True)
class _Counters:
    cpu_seconds: float
    memory_bytes: int
    memory_limit_bytes: int
    pids: int
    oom_kills: int


class UsageMeter:
    """Measures; processor time is that since the measurement before."""

    def __init__(
        self, system: Path, membership: Path = Path("/proc/self/cgroup"), *, by_processes: bool = False
    ) -> None:
        self._read = _read_family if by_processes else _source(system, membership)
        self._before: tuple[float, float] | None = None

    def measure(self) -> Usage:
        """Measure now; the first answer knows no processor use."""
        counters = self._read()
        now = time.monotonic()
        percent = 0.0
        if self._before is not None and now > self._before[0]:
            percent = 100 * max(counters.cpu_seconds - self._before[1], 0.0) / (now - self._before[0])
        self._before = (now, counters.cpu_seconds)
        return Usage(
            cpu_percent=round(percent, 2),
            memory_bytes=counters.memory_bytes,
            memory_limit_bytes=counters.memory_limit_bytes,
            pids=counters.pids,
            oom_kills=counters.oom_kills,
        )


def _source(system: Path, membership: Path) -> Callable[[], _Counters]:
    groups = _groups(membership)
    if (system / "cgroup.controllers").is_file():
        group = _folder(system, groups.get("", "/"))
        if (group / "memory.current").is_file():
            return lambda: _read_v2(group)
    memory = _folder(system / "memory", groups.get("memory", "/"))
    if (memory / "memory.usage_in_bytes").is_file():
        cpu = _folder(system / "cpuacct", groups.get("cpuacct", "/"))
        pids = _folder(system / "pids", groups.get("pids", "/"))
        return lambda: _read_v1(memory, cpu, pids)
    return _read_processes


def _groups(membership: Path) -> dict[str, str]:
    """The cgroup of this process by controller, as /proc/self/cgroup tells (cgroups(7))."""
    groups: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in membership.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _folder(mount: Path, path: str) -> Path:
    # In a container the mount often is the group itself, and the path is one of the host's.
    group = mount / path.lstrip("/")
    return group if group.is_dir() else mount


def _read_v2(group: Path) -> _Counters:
    memory = _table(group / "memory.stat")
    return _Counters(
        cpu_seconds=_table(group / "cpu.stat").get("usage_usec", 0) / 1e6,
        memory_bytes=max(_number(group / "memory.current") - memory.get("inactive_file", 0), 0),
        memory_limit_bytes=_number(group / "memory.max"),
        pids=_number(group / "pids.current"),
        oom_kills=_table(group / "memory.events").get("oom_kill", 0),
    )


def _read_v1(memory: Path, cpu: Path, pids: Path) -> _Counters:
    limit = _number(memory / "memory.limit_in_bytes")
    cached = _table(memory / "memory.stat").get("total_inactive_file", 0)
    return _Counters(
        cpu_seconds=_number(cpu / "cpuacct.usage") / 1e9,
        memory_bytes=max(_number(memory / "memory.usage_in_bytes") - cached, 0),
        memory_limit_bytes=limit if limit < _UNLIMITED else 0,
        pids=_number(pids / "pids.current"),
        oom_kills=_table(memory / "memory.oom_control").get("oom_kill", 0),
    )


def _read_processes() -> _Counters:
    with contextlib.suppress(psutil.Error):
        me = psutil.Process()
        return _add_up([me, *me.children(recursive=True)])
    return _add_up([])


def _read_family() -> _Counters:
    """All below the parent, not the agent's own children alone: tmux leaves those."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process().parent()
        return _add_up([] if parent is None else parent.children(recursive=True))
    return _add_up([])


def _add_up(processes: list[psutil.Process]) -> _Counters:
    seconds, memory, count = 0.0, 0, 0
    with contextlib.suppress(psutil.Error):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                seconds += times.user + times.system
                memory += process.memory_info().rss
                count += 1
    return _Counters(seconds, memory, 0, count, 0)


def _number(path: Path) -> int:
    """A file with one number; ``max``, and a file that is not there, are 0."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _table(path: Path) -> dict[str, int]:
    """A file of lines ``name number``."""
    table: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            table[name] = int(value)
    return table
