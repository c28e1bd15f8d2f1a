"""Memory and cores of the machine against what running instances may use at most."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from controller.resources import Instance, OperatingMode
from controller.resources.quantity import format_bytes

from .examination import Finding, notable, well


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is: cores, and bytes of memory."""

    cpus: int
    memory: int

    @classmethod
    def here(cls) -> Machine:
        """Return what the kernel tells this process."""
        return cls(os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def demanding(instances: Sequence[Instance]) -> list[Instance]:
    """Return the instances that are meant to run."""
    return [
        each
        for each in instances
        if each.spec.operating_mode is OperatingMode.RUNNING
        and each.metadata.deletion_requested_at is None
        and each.status.parked is None
    ]


def examine_memory(machine: Machine, instances: Sequence[Instance]) -> Finding:
    """Judge whether all running instances together may take more memory than there is."""
    running = demanding(instances)
    declared = sum(each.spec.resources.memory for each in running)
    text = f"{_short(declared)} declared by {_count(running)}, {_short(machine.memory)} in the machine"
    if declared > machine.memory:
        return notable(
            f"{text}: overcommitted by {_short(declared - machine.memory)}, so the kernel may kill something if "
            "all use what they may; lower spec.resources.memory or suspend some"
        )
    return well(text)


def examine_cpus(machine: Machine, instances: Sequence[Instance]) -> Finding:
    """Judge whether all running instances together may take more cores than there are; they then share."""
    running = demanding(instances)
    declared = sum(each.spec.resources.cpus for each in running)
    text = f"{declared:g} cores declared by {_count(running)}, {machine.cpus} in the machine"
    if declared > machine.cpus:
        over = f"{declared - machine.cpus:g}"
        return notable(f"{text}: overcommitted by {over}, so instances slow each other down when all work at once")
    return well(text)


def _count(running: Sequence[Instance]) -> str:
    return f"{len(running)} running instance{'' if len(running) == 1 else 's'}"


def _short(size: int) -> str:
    return format_bytes(size // 1024**2 * 1024**2)
