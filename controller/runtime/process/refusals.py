"""What cannot be done, in words that name the field, the value and the way out."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterable

from controller.errors import Retryable, Terminal, Unavailable
from controller.runtime.protocol import Limits

from .cgroups import Cgroup

_LEAST_MEMORY = 6 * 1024**2


def check_limits(limits: Limits) -> None:
    """Refuse limits that no machine like this one could give, whether or not they can be enforced.

    Raises:
        Terminal: ``InvalidLimits``.
    """
    cores = os.cpu_count() or 1
    if not 0 < limits.cpus <= cores:
        raise Terminal("InvalidLimits", f"cpus: {limits.cpus:g} is not possible, this machine has {cores}")
    if limits.memory < _LEAST_MEMORY:
        raise Terminal("InvalidLimits", f"memory: {limits.memory} is less than the minimum, {_LEAST_MEMORY}")
    if limits.pids < 1:
        raise Terminal("InvalidLimits", f"pids: {limits.pids} is less than 1")


def apply_limits(cgroup: Cgroup, limits: Limits) -> None:
    """Put limits into force.

    Raises:
        Terminal: ``InvalidLimits``, more memory than that is in use.
        Unavailable: the cgroup cannot be written (now).
    """
    try:
        cgroup.set_limits(limits)
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EINVAL):
            message = f"memory: the processes hold more than {limits.memory} bytes now; choose more, or restart them"
            raise Terminal("InvalidLimits", message) from error
        raise Unavailable("RuntimeFailed", f"the cgroup cannot be changed: {error.strerror}") from error


def check_sources(sources: Iterable[str]) -> None:
    """Refuse folders and files that are not there.

    Raises:
        Retryable: ``MountSourceMissing``.
    """
    for source in sources:
        if not os.path.lexists(source):
            raise Retryable("MountSourceMissing", f"{source!r} does not exist (now): it is tried again")


def check_answer(name: str, program: str, done: subprocess.CompletedProcess[bytes]) -> None:
    """Read what a shim said about its start.

    Raises:
        Terminal: ``InvalidWorkload``, the program cannot be run.
        Unavailable: the shim itself failed.
    """
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        message = f"the shim of {name} failed: {''.join(last) or f'exit code {done.returncode}'}; it is tried again"
        raise Unavailable("RuntimeFailed", message) from None
    if "error" in answer:
        raise Terminal("InvalidWorkload", f"{program} cannot be started for {name}: {answer['error']}")
