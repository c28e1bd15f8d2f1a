"""Limits in a cgroup of the workload's own, where the kernel lets us make one; both versions.

Version 1 (Documentation/admin-guide/cgroup-v1) has a hierarchy per controller, version 2 (cgroup-v2.rst) one for all.
The new cgroup lies below the one the controller itself is in, or, in version 2, where processes and controllers may
not be in the same one, below the nearest one above it that hands controllers on. What cannot be limited is named, so
that nobody believes in a limit that is none.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.runtime.protocol import Limits

from .processes import pause_between_looks

UNIFIED = "unified"
_PERIOD = 100_000
_V1 = ("memory", "cpu", "pids", "cpuacct")
_LIMITED = {"memory": "memory", "cpu": "cpus", "pids": "pids"}
"""Field of ``Limits``, and of spec.resources, by controller."""
_REMOVE_TRIES = 50


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted cgroup file system, at the cgroup this process is in."""

    controllers: frozenset[str]
    mount: Path
    own: Path


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The cgroups of one workload.

    Attributes:
        folders: by controller (version 1), or one under ``unified``.
        missing: names of the limits that nobody enforces, each with the reason.
    """

    folders: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def notice(self) -> str | None:
        """Return what to tell about limits that are none, if there are any."""
        if not self.missing:
            return None
        names = ", ".join(self.missing)
        reason = next(iter(self.missing.values()))
        return f"not enforced: spec.resources {names} ({reason})"

    def counts(self) -> bool:
        """Whether its files tell what the workload uses, and nothing else."""
        return UNIFIED in self.folders or {"memory", "cpuacct", "pids"} <= self.folders.keys()

    def enter(self, pid: int = 0) -> None:
        """Move a process there (0: this one); what it starts follows.

        Raises:
            OSError: one of them cannot be entered.
        """
        for folder in self.folders.values():
            (Path(folder) / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def pids(self) -> set[int]:
        """Return the processes in it."""
        found: set[int] = set()
        for folder in self.folders.values():
            with contextlib.suppress(OSError):
                found |= {int(line) for line in (Path(folder) / "cgroup.procs").read_text(encoding="ascii").split()}
        return found - {0}

    def kill(self) -> None:
        """Kill everything in it at once, where the kernel has a word for that (version 2, Linux 5.14)."""
        if UNIFIED in self.folders:
            with contextlib.suppress(OSError):
                (Path(self.folders[UNIFIED]) / "cgroup.kill").write_text("1", encoding="ascii")

    def set_limits(self, limits: Limits) -> None:
        """Put limits into force.

        Raises:
            OSError: with EBUSY, when more memory than that is in use.
        """
        for controller, folder in self.folders.items():
            _WRITERS.get(controller, _no_limits)(Path(folder), limits)

    def oom_kills(self) -> int:
        """Return how often the kernel killed a process in it for want of memory."""
        for controller, file in (("memory", "memory.oom_control"), (UNIFIED, "memory.events")):
            with contextlib.suppress(OSError, KeyError, ValueError):
                text = (Path(self.folders[controller]) / file).read_text(encoding="ascii")
                return int(dict(line.split() for line in text.splitlines())["oom_kill"])
        return 0

    def remove(self) -> None:
        """Remove it; the dead take a moment to leave. One that is not empty stays. Idempotent."""
        for folder in self.folders.values():
            for _ in range(_REMOVE_TRIES):
                try:
                    Path(folder).rmdir()
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        break
                    pause_between_looks()
                else:
                    break


def make(name: str, limits: Limits, hierarchies: list[Hierarchy] | None = None) -> Cgroup:
    """Make cgroups of this name with these limits, as far as that can be done here."""
    found = find_hierarchies() if hierarchies is None else hierarchies
    unified = next((each for each in found if each.controllers == {UNIFIED}), None)
    if unified is not None and not any(each.controllers & set(_V1) for each in found):
        return _make_unified(name, limits, unified)
    folders, missing = {}, {}
    for controller in _V1:
        hierarchy = next((each for each in found if controller in each.controllers), None)
        try:
            if hierarchy is None:
                raise FileNotFoundError(errno.ENOENT, "this machine has no such cgroups")
            folders[controller] = str(_make_one(hierarchy.own / name, controller, limits))
        except OSError as error:
            if controller in _LIMITED:
                missing[_LIMITED[controller]] = _why(error)
    return Cgroup(folders, missing)


def _make_one(folder: Path, controller: str, limits: Limits) -> Path:
    _make_folder(folder)
    try:
        _WRITERS.get(controller, _no_limits)(folder, limits)
    except OSError:
        folder.rmdir()
        raise
    return folder


def _make_folder(folder: Path) -> None:
    """Make one that the agent, another user perhaps, can read: it reports what the workload uses."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)


def _make_unified(name: str, limits: Limits, hierarchy: Hierarchy) -> Cgroup:
    why: OSError = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    place = hierarchy.own
    while True:
        try:
            handed_on = _hand_on(place)
            if handed_on & set(_LIMITED):
                folder = place / name
                _make_folder(folder)
                _write_unified(folder, limits)
                missing = {
                    _LIMITED[each]: "this controller is not handed on to us"
                    for each in _LIMITED
                    if each not in handed_on
                }
                return Cgroup({UNIFIED: str(folder)}, missing)
        except OSError as error:
            why = error
        if place == hierarchy.mount:
            return Cgroup({}, dict.fromkeys(_LIMITED.values(), _why(why)))
        place = place.parent


def _hand_on(place: Path) -> set[str]:
    """Let a cgroup hand its controllers on, if it does not; returns those it hands on."""
    control = place / "cgroup.subtree_control"
    there = set((place / "cgroup.controllers").read_text(encoding="ascii").split())
    for controller in there & set(_LIMITED) - set(control.read_text(encoding="ascii").split()):
        with contextlib.suppress(OSError):  # processes are in it, or it is not ours
            control.write_text(f"+{controller}", encoding="ascii")
    return set(control.read_text(encoding="ascii").split())


def _write_memory(folder: Path, limits: Limits) -> None:
    # Memory and swap together may never be less than memory alone, so the order depends on the direction.
    both = [folder / "memory.limit_in_bytes", folder / "memory.memsw.limit_in_bytes"]
    names = [path for path in both if path.exists()]
    try:
        _write_numbers(names, limits.memory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _write_numbers(names[::-1], limits.memory)


def _write_numbers(paths: list[Path], number: int) -> None:
    for path in paths:
        path.write_text(str(number), encoding="ascii")


def _write_cpu(folder: Path, limits: Limits) -> None:
    _write_numbers([folder / "cpu.cfs_period_us"], _PERIOD)
    _write_numbers([folder / "cpu.cfs_quota_us"], round(limits.cpus * _PERIOD))


def _write_pids(folder: Path, limits: Limits) -> None:
    _write_numbers([folder / "pids.max"], limits.pids)


def _write_unified(folder: Path, limits: Limits) -> None:
    values = {
        "memory.max": str(limits.memory),
        "memory.swap.max": "0",
        "cpu.max": f"{round(limits.cpus * _PERIOD)} {_PERIOD}",
        "pids.max": str(limits.pids),
    }
    current = folder / "memory.current"
    if current.exists() and int(current.read_text(encoding="ascii")) > limits.memory:
        # The kernel would take the limit and kill.
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    for name, value in values.items():
        if (folder / name).exists():
            (folder / name).write_text(value, encoding="ascii")


def _no_limits(folder: Path, limits: Limits) -> None:
    """A cgroup that only counts."""
    del folder, limits


_WRITERS: Mapping[str, Callable[[Path, Limits], None]] = {
    "memory": _write_memory,
    "cpu": _write_cpu,
    "pids": _write_pids,
    UNIFIED: _write_unified,
}


def _why(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "cgroups cannot be written here"
    return f"cgroups: {error.strerror or error}"


def find_hierarchies(proc: Path = Path("/proc/self")) -> list[Hierarchy]:
    """Return the cgroup file systems of this machine; ``unified`` stands for version 2 (cgroups(7))."""
    own: dict[frozenset[str], str] = {}
    try:
        for line in (proc / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            own[_controllers(controllers)] = path
        mounts = (proc / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in mounts:
        # id parent device root mount options [tags] - type source options
        left, _, right = line.partition(" - ")
        root, mount = left.split()[3:5]
        kind, _, options = right.split(maxsplit=2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        for names, path in own.items():
            if (kind == "cgroup2") == (names == {UNIFIED}) and names <= {*options.split(","), UNIFIED}:
                found.append(Hierarchy(names, Path(mount), _below(Path(mount), root, path)))
                break
    return found


def _controllers(text: str) -> frozenset[str]:
    return frozenset(text.split(",")) if text else frozenset({UNIFIED})


def _below(mount: Path, root: str, path: str) -> Path:
    """Return where a cgroup is seen; in a container the mount's root often is the group itself."""
    relative = os.path.relpath(path, root)
    folder = mount / relative
    return folder if not relative.startswith("..") and folder.is_dir() else mount
