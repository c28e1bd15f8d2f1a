"""One run of a workload: begun through a shim, looked at, ended, and cleared of what a killed shim left.

``runtime`` decides which run; here is how. Whether a run goes on is told by its shim's files first, then by the kernel.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from controller.errors import Unavailable
from controller.runtime.protocol import WorkloadState

from .cgroups import Cgroup
from .environment import Environment
from .homes import Homes
from .processes import pause_between_looks
from .records import Record, Records, Run
from .refusals import check_answer
from .shim import sweep

_START_SHIM = Path(__file__).with_name("start_shim.py")
_START_SECONDS = 20.0
_SHIM_SECONDS = 10.0
_LAST_WORD_SECONDS = 2.0
"""Once nothing else is left of a run, its shim writes its end and is gone in milliseconds."""
_CONTINUED_SECONDS = 2.0
_KILLED = 137
_SHIM_DIED = "its shim ended without a word: it was killed, or this machine was started again"


class Runs:
    """The runs of all workloads below one ``STATE/process``; keeps nothing itself."""

    def __init__(self, records: Records, homes: Homes, environment: Environment) -> None:
        self._records = records
        self._homes = homes
        self._environment = environment

    def life(self, record: Record, run: Run) -> tuple[WorkloadState, Mapping[str, Any]]:
        """Return whether a run goes on, and how it ended. The shim's word comes first, then the kernel's."""
        ending = self._records.exit(record.name, run)
        if ending is None and run.shim.is_alive():
            stopped = run.agent.is_stopped()
            return (WorkloadState.PAUSED if stopped else WorkloadState.RUNNING), {}
        ending = ending or self._records.exit(record.name, run)  # written between the two looks
        if ending is None:
            finished = self._last_sign(record)
            return WorkloadState.EXITED, {"exit_code": _KILLED, "finished_at": finished, "error": _SHIM_DIED}
        return WorkloadState.EXITED, {
            "exit_code": ending.exit_code,
            "oom_killed": ending.oom_killed,
            "finished_at": datetime.fromisoformat(ending.finished_at),
            "error": ending.error,
        }

    def _last_sign(self, record: Record) -> datetime:
        """Return when a run whose end nobody wrote down last did anything; the same at every look."""
        times = [0.0]
        for suffix in ("run", "state", "log"):
            with contextlib.suppress(OSError):
                times.append(self._records.path(record.name, suffix).stat().st_mtime)
        return datetime.fromtimestamp(max(times)).astimezone()

    def is_alive(self, record: Record) -> bool:
        """Whether anything of a workload runs; what a killed shim left is ended if not."""
        run = self._records.run(record.name)
        if run is None:
            return False
        if self.life(record, run)[0] is not WorkloadState.EXITED:
            return True
        self.clear(record, run)
        return False

    def begin(self, record: Record) -> None:
        """Begin a run.

        Raises:
            Terminal: ``InvalidWorkload``, ``ProgramMissing``.
            Unavailable: the shim did not begin.
        """
        order = self._environment.order(
            record,
            root=self._records.root,
            home=self._homes.path(record.instance, record.uid),
            limits=self._records.limits(record.name),
        )
        argv = [sys.executable, "-I", "-S", str(_START_SHIM)]
        try:
            done = subprocess.run(  # noqa: S603  # ourselves
                argv,
                input=order.dump().encode(),
                capture_output=True,
                env=_shim_environment(),
                cwd="/",
                timeout=_START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            message = f"the shim of {record.name} did not begin within {_START_SECONDS:g} s: it is tried again"
            raise Unavailable("RuntimeFailed", message) from error
        check_answer(record.name, order.argv[0], done)

    def end(self, record: Record, run: Run, grace: float) -> None:
        """End a run: SIGTERM to the agent, SIGKILL after ``grace`` seconds, and nothing of it stays; idempotent.

        Raises:
            Unavailable: ``ProcessesLeft``.
        """
        if self.life(record, run)[0] is WorkloadState.EXITED:
            self.clear(record, run)
            return
        for number in (signal.SIGTERM, signal.SIGCONT) if grace > 0 else ():
            run.agent.send(number)
        if not run.agent.wait(grace):
            run.agent.send(signal.SIGKILL)
        run.shim.wait(_SHIM_SECONDS)
        self.clear(record, run)

    def clear(self, record: Record, run: Run) -> None:
        """End what a shim left behind, if it did: its own end is written only when nothing is left.

        A shim that has not come to that yet is left to it for as long as there is anything: it alone knows of what is
        neither marked nor in a cgroup.

        Raises:
            Unavailable: ``ProcessesLeft``.
        """
        if self._records.exit(record.name, run) is not None and run.shim.wait(_SHIM_SECONDS):
            return
        cgroup = Cgroup(run.cgroups)
        if not sweep(record.id, cgroup, run.shim):
            message = f"processes of {record.name} do not end, not even by SIGKILL: it is tried again"
            raise Unavailable("ProcessesLeft", message)
        if not run.shim.wait(_LAST_WORD_SECONDS):
            run.shim.send(signal.SIGKILL)
            run.shim.wait(_LAST_WORD_SECONDS)
        cgroup.remove()
        self._environment.remove_scratch(run.scratch)


def resume(run: Run) -> None:
    """Let a stopped agent go on, and wait until the kernel says so: whoever looks next shall not find it paused."""
    run.agent.send(signal.SIGCONT)
    deadline = time.monotonic() + _CONTINUED_SECONDS
    while run.agent.is_stopped() and time.monotonic() < deadline:
        pause_between_looks()


def _shim_environment() -> dict[str, str]:
    """Return what a shim gets of our environment, which holds credentials: next to nothing."""
    return {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
