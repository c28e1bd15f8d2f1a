"""The small parent of one workload; run by ``start_shim.py``.

Like containerd's shim it stands between the controller, which may die at any time, and the workload, which must not
notice: it starts the agent in a session and a cgroup of their own, is the parent of every orphan below it, keeps what
the agent prints, and when the agent ends it ends everything else and writes down how it was.

The process that the controller starts forks the shim, passes on its word that the agent runs, and ends. SIGTERM
(a machine that shuts down) ends the workload gracefully.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import selectors
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import cgroups, processes
from .launch import EXEC_FAILED, Order, become, make_scratch, mark_of
from .logs import LogFile
from .processes import Identity
from .records import Exit, Records, Run, now

GRACE_SECONDS = 8.0
SWEEP_SECONDS = 5.0
LOOK_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0


class Refused(Exception):
    """The run cannot begin; ``answer`` is what the controller is told."""

    def __init__(self, answer: dict[str, str]) -> None:
        super().__init__(str(answer))
        self.answer = answer


class Shim:
    """One run of one workload; used once.

    Args:
        order: what to run.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._records = Records(Path(order.root))
        self._cgroup = cgroups.Cgroup()
        self._selector = selectors.DefaultSelector()
        self._log = LogFile(self._records.path(order.name, "log"))
        self._status: int | None = None
        self._agent = 0
        self._kill_at: float | None = None

    def begin(self) -> None:
        """Start the agent and record it.

        Raises:
            Refused: another shim has the workload, or the agent cannot be started.
        """
        self._hold()
        processes.adopt_orphans()
        self._listen_to_signals()
        self._records.path(self._order.name, "exit").unlink(missing_ok=True)
        try:
            make_scratch(self._order)
            self._cgroup = cgroups.make(f"cco-{self._order.id[:12]}", self._order.limits)
            self._start()
        except OSError as error:
            self._clean()
            raise Refused({"error": error.strerror or str(error)}) from error

    def watch(self) -> None:
        """Keep the log and the children until the agent has ended, and see to it that nothing of it is left."""
        while self._status is None:
            for key, _ in self._selector.select(self._time_left()):
                key.data()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill_at = None
                os.kill(self._agent, signal.SIGKILL)
        self._sweep()
        self._read_log()
        killed = os.WIFSIGNALED(self._status) and os.WTERMSIG(self._status) == signal.SIGKILL
        self._records.write_exit(
            self._order.name,
            Exit(
                run=self._order.run,
                exit_code=_exit_code(self._status),
                oom_killed=killed and self._cgroup.oom_kills() > 0,
                finished_at=now(),
            ),
        )
        self._clean()

    def _hold(self) -> None:
        """Take the workload for this process; the lock and the open file end with it, whatever ends it."""
        path = self._records.path(self._order.name, "alive")
        self._alive = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused({"taken": "another shim has it"}) from error

    def _listen_to_signals(self) -> None:
        ours, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end_gracefully())

        def woken() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(ours, 4096)
            self._reap()

        self._selector.register(ours, selectors.EVENT_READ, woken)

    def _start(self) -> None:
        output, printed = os.pipe2(os.O_CLOEXEC)
        trouble, troubled = os.pipe2(os.O_CLOEXEC)
        me = os.getpid()
        started_at = now()
        self._agent = os.fork()
        if self._agent == 0:
            try:
                signal.set_wakeup_fd(-1)
                become(self._order, self._cgroup, printed, me)
            except OSError as error:
                what = f"{error.filename}: " if error.filename else ""
                os.write(troubled, f"{what}{error.strerror}".encode())
            finally:
                os._exit(EXEC_FAILED)
        os.close(printed)
        os.close(troubled)
        who = Identity.of(self._agent)  # a zombie, too, is there until we ask for it
        with open(trouble, "rb") as reader:  # noqa: PTH123  # a descriptor
            failure = reader.read().decode(errors="replace")
        if failure or who is None:
            os.waitpid(self._agent, 0)
            os.close(output)
            raise OSError(0, failure or "it ended at once")
        self._printed = output
        os.set_blocking(output, False)
        self._selector.register(output, selectors.EVENT_READ, self._read_log)
        shim = Identity.of(me)
        if shim is None:
            raise OSError(0, "/proc does not tell of this process")
        self._records.write_run(
            self._order.name,
            Run(
                id=self._order.run,
                shim=shim,
                agent=who,
                started_at=started_at,
                scratch=self._order.scratch,
                cgroups=self._cgroup.folders,
                notice=self._cgroup.notice(),
            ),
        )

    def _read_log(self) -> None:
        """Take over what the agent printed."""
        while True:
            try:
                data = os.read(self._printed, 65536)
            except BlockingIOError:
                return
            if not data:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(self._printed)
                return
            self._log.write(data)

    def _reap(self) -> None:
        """Ask for every child that ended, orphans too, and tell when the agent was stopped or continued."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid != self._agent:
                continue
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self._status = status
            else:
                self._records.tell(self._order.name)

    def _end_gracefully(self) -> None:
        if self._agent and self._status is None and self._kill_at is None:
            self._kill_at = time.monotonic() + GRACE_SECONDS
            for number in (signal.SIGTERM, signal.SIGCONT):
                os.kill(self._agent, number)

    def _time_left(self) -> float | None:
        return None if self._kill_at is None else max(self._kill_at - time.monotonic(), 0.0)

    def _sweep(self) -> None:
        """Kill what the agent left: its children, what is in the cgroup, and what carries the mark.

        However long it takes: an end that is written down means that nobody writes to the worktree any more.
        """
        sweep(self._order.id, self._cgroup, Identity.of(os.getpid()), reap=self._reap, seconds=math.inf)

    def _clean(self) -> None:
        self._cgroup.remove()
        _remove(self._order.scratch)


def _remove(folder: str) -> None:
    """Remove a folder in which somebody else decides how deep folders nest, and which are closed even to their owner.

    By the programs only where it has to be, and without ``subprocess``, which every shim would carry in its memory.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        for command in (("chmod", "-R", "u+rwX"), ("rm", "-rf", "--one-file-system")):
            with contextlib.suppress(OSError):  # no such program: the folder stays
                os.waitpid(os.posix_spawnp(command[0], [*command, "--", folder], os.environ), 0)


def sweep(
    id_: str,
    cgroup: cgroups.Cgroup,
    shim: Identity | None,
    *,
    reap: Callable[[], None] = lambda: None,
    seconds: float = SWEEP_SECONDS,
) -> bool:
    """Kill every process of a workload; returns whether none is left.

    Args:
        id_: of the workload's record.
        cgroup: where its processes are, if it has one.
        shim: whose descendants belong to it as long as it lives; the shim itself does not.
        reap: called between two looks.
        seconds: how long to go on.
    """
    deadline = time.monotonic() + seconds
    pause, before = LOOK_SECONDS, frozenset[Identity]()
    while True:
        cgroup.kill()
        left = _find(id_, cgroup, shim)
        for who in left:
            who.send(signal.SIGKILL)
        reap()
        if not left:
            return True
        if time.monotonic() > deadline:
            return False
        # Who multiplies has to be met quickly; who does not die (its disk does not answer, say) may take a day.
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS) if left == before else LOOK_SECONDS
        before = left
        processes.pause_between_looks(pause)


def _find(id_: str, cgroup: cgroups.Cgroup, shim: Identity | None) -> frozenset[Identity]:
    found = processes.identified(cgroup.pids()) | processes.marked(mark_of(id_))
    if shim is not None:
        below = processes.descendants(shim.pid)
        if shim.is_alive():  # asked afterwards: so the pid was not another's at the look
            found |= below
    return frozenset(who for who in found - {shim} if who.pid != os.getpid() and who.is_alive())


def _exit_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def main() -> int:
    """Fork the shim and pass its word on; returns the exit code of the process that the controller waits for."""
    order = Order.load(sys.stdin.read())
    heard, told = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        status = 1
        try:
            os.close(heard)
            _detach()
            status = _live(order, told)
        finally:
            os._exit(status)
    os.close(told)
    with open(heard, "rb") as reader:  # noqa: PTH123  # a descriptor
        answer = reader.read()
    sys.stdout.buffer.write(answer)
    sys.stdout.flush()
    return 0 if answer else 1


def _detach() -> None:
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    nothing = os.open(os.devnull, os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(nothing, target)
    os.close(nothing)


def _live(order: Order, told: int) -> int:
    shim = Shim(order)
    try:
        shim.begin()
    except Refused as refused:
        os.write(told, json.dumps(refused.answer).encode())
        return 0
    except Exception as error:  # nobody else can tell it
        os.write(told, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        raise
    os.write(told, b"{}")
    os.close(told)
    shim.watch()
    return 0
