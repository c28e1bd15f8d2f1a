"""What processes cost, read from /proc: CPU time with that of ended children, memory, the whole machine's CPU."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return user and system time of processes and of those children they have waited for."""
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    # The name may contain anything, but it ends with the last parenthesis.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS


def memory(pid: int, kind: str = "Pss") -> float:
    """Return a process's memory in MiB; ``Pss`` shares what several processes have in common among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {kind} in smaps_rollup")


def machine_cpu() -> float:
    """Return the seconds all processors were busy so far."""
    fields = [int(ticks) for ticks in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, soft, steal = fields[:8]
    return (user + nice + system + irq + soft + steal) / _TICKS


def about_machine() -> dict[str, object]:
    """Return what the numbers depend on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    total = Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]
    engine = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    commit = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return {
        "processors": len(os.sched_getaffinity(0)),
        "processor": models[0] if models else platform.machine(),
        "memory_gib": round(int(total) / 1024**2),
        "kernel": platform.release(),
        "engine": engine.stdout.strip(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "load_average": os.getloadavg(),
    }
