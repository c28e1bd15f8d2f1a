"""What the engine's refusals mean: which field, which value, and the way out.

The engine tells its reasons in prose only; the phrases looked for here were seen on Docker Engine 20.10 and stand in
its source unchanged up to 28. A phrase that changed costs the better message, not the error.
"""

from __future__ import annotations

import re

from controller.errors import CcoError, Conflict, Retryable, Terminal
from controller.resources.quantity import format_bytes
from controller.runtime.protocol import Limits, WorkloadSpec

from .engine import CONFLICT, GONE, Failed, Refused

_SOURCE = re.compile(r"bind source path does not exist: (?P<path>.*)|error mounting \"(?P<mounted>[^\"]+)\"")
_CPUS = re.compile(r"range of cpus.*?only (?P<count>\d+) cpus", re.IGNORECASE)
_MEMORY = re.compile(r"minimum memory limit.*?(?P<least>\d+ ?MB)", re.IGNORECASE)
_USAGE = re.compile(r"current usage: (?P<bytes>\d+)")


def explain_create(refused: Refused, spec: WorkloadSpec, name: str) -> CcoError:
    """Return the error for a container the engine would not create."""
    if refused.status == GONE and "image" in refused.text.lower():
        return Terminal(
            "ImageNotFound",
            f"image: {spec.image!r} is not on this machine and images are never pulled unasked; "
            f"'docker pull {spec.image}' fetches it, 'make images' builds the project's own",
        )
    if refused.status == CONFLICT:
        return Conflict(
            "NameConflict",
            f"the container name {name!r} is taken by something that is not this instance's: it is left alone; "
            f"rename or remove it ('docker rename {name} {name}-other'), or choose another setting container_prefix",
        )
    return explain_limits(refused, spec.limits) or explain_start(refused)


def explain_start(refused: Refused) -> CcoError:
    """Return the error for a container the engine would not start."""
    if match := _SOURCE.search(refused.text):
        path = match["path"] or match["mounted"]
        return Retryable(
            "MountSourceMissing",
            f"the folder {path!r} is not there for the Docker engine: it is made again if it is ours; otherwise the "
            "controller must run on the engine's machine and see it under the same absolute path",
        )
    return refused


def explain_limits(refused: Refused, limits: Limits) -> Terminal | None:
    """Return the error for limits the engine refused, ``None`` when it is about something else."""
    if match := _CPUS.search(refused.text):
        return Terminal(
            "InvalidLimits",
            f"resources.cpus: {limits.cpus:g} is more than this machine has: choose at most {match['count']}",
        )
    if match := _MEMORY.search(refused.text):
        return Terminal(
            "InvalidLimits",
            f"resources.memory: {format_bytes(limits.memory)} is less than the engine allows: "
            f"choose at least {match['least']}",
        )
    return None


def explain_update(failed: Failed, limits: Limits) -> CcoError:
    """Return the error for limits that could not be put into force."""
    match = _USAGE.search(failed.text)
    if match is None:
        return failed
    return Terminal(
        "InvalidLimits",
        f"resources.memory: {format_bytes(limits.memory)} is less than the instance's processes hold now "
        f"({int(match['bytes']) // 1024**2}Mi): choose more, or restart the instance with it",
    )
