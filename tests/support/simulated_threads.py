"""Threads that run one at a time, in an order somebody else chooses, on a clock that only moves when told.

The code under test believes it uses :mod:`threading`: :class:`SimulatedThreading` stands in that module's place. Each
simulated thread is a real one that hands the baton back at every :meth:`Schedule.pause` and whenever it would wait;
so one seed, one order. Whatever would really block is an error, because then the order would be chance again.
"""

from __future__ import annotations

import _thread
import heapq
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

LONGEST_STEP_SECONDS = 30.0
"""Real seconds after which a step counts as stuck."""

Ready = Callable[[], bool]


class ProcessKilled(BaseException):
    """Unwinds a thread of a killed process, wherever it is; nothing that it still calls has any effect."""


class Stuck(Exception):
    """A simulated thread waits for something real."""


class SimulatedThread:
    """One thread, with the part of the interface of ``threading.Thread`` that the product uses."""

    def __init__(self, schedule: Schedule, target: Callable[..., object], args: Sequence[object], name: str) -> None:
        self.name = name
        self.process = schedule.process
        self.where = "begin"
        self.ready: Ready = lambda: True
        self.deadline: float | None = None
        self.killed = False
        self.alive = False
        self.unbroken = 0
        self.broken: BaseException | None = None
        self._schedule = schedule
        self._target, self._args = target, args
        self._go = _thread.allocate_lock()
        self._go.acquire()

    def start(self) -> None:
        self.alive = True
        self._schedule.threads.append(self)
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def join(self, timeout: float | None = None) -> None:
        self._schedule.wait(f"join {self.name}", lambda: not self.alive, timeout)

    def is_alive(self) -> bool:
        return self.alive

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self.killed:
                self._target(*self._args)
        except ProcessKilled:
            pass
        except BaseException as error:  # noqa: BLE001  # told by whoever drives the schedule
            self.broken = error
        self.alive = False
        self._schedule.threads.remove(self)
        self._schedule.give_back()

    def resume(self) -> None:
        """Run until the next pause; only the schedule calls this."""
        self._go.release()

    def halt(self, where: str, ready: Ready, deadline: float | None) -> None:
        """Give the baton back and wait for it; called in this thread."""
        self.where, self.ready, self.deadline = where, ready, deadline
        self._schedule.give_back()
        self._go.acquire()
        self.deadline = None
        if self.killed:
            raise ProcessKilled


class Schedule:
    """All simulated threads, their clock, and what is to happen later.

    Attributes:
        now: monotonic seconds; only :meth:`advance_to` moves it.
        process: the process that threads made from now on belong to.
        current: the thread that runs; ``None`` while it is the driver's turn.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.process = ""
        self.threads: list[SimulatedThread] = []
        self.current: SimulatedThread | None = None
        self._later: list[tuple[float, int, str, Callable[[], None]]] = []
        self._order = itertools.count()
        self._baton = _thread.allocate_lock()
        self._baton.acquire()

    def later(self, delay: float, what: str, act: Callable[[], None]) -> None:
        """Let the driver do something when ``delay`` seconds have passed."""
        heapq.heappush(self._later, (self.now + delay, next(self._order), what, act))

    # The driver's side ----------------------------------------------------------------------------------------

    def runnable(self) -> list[SimulatedThread]:
        """Return the threads that could go on now, in the order they were made."""
        now = self.now
        return [each for each in self.threads if (each.deadline is not None and each.deadline <= now) or each.ready()]

    def next_deadline(self) -> float | None:
        """Return when time alone changes something."""
        waiting = [each.deadline for each in self.threads if each.deadline is not None]
        return min([*waiting, *(entry[0] for entry in self._later[:1])], default=None)

    def due(self) -> str | None:
        """Return what the next thing is that was planned for now or earlier."""
        return self._later[0][2] if self._later and self._later[0][0] <= self.now else None

    def do_due(self) -> None:
        """Do it."""
        heapq.heappop(self._later)[3]()

    def advance_to(self, instant: float) -> None:
        """Let the clock show a later time."""
        self.now = max(self.now, instant)

    def step(self, thread: SimulatedThread) -> None:
        """Let one thread go on to its next pause.

        Raises:
            Stuck: it waits for something that is not simulated.
            BaseException: whatever the thread died of.
        """
        self.current = thread
        thread.resume()
        if not self._baton.acquire(timeout=LONGEST_STEP_SECONDS):
            message = f"{thread.name} does not come back; it was at {thread.where!r}"
            raise Stuck(message)
        self.current = None
        if thread.broken is not None:
            raise thread.broken

    def kill(self, process: str) -> None:
        """End all threads of a process where they are, as ``kill -9`` does."""
        for thread in [each for each in self.threads if each.process == process]:
            thread.killed = True
            while thread.alive:
                self.step(thread)

    # The threads' side ----------------------------------------------------------------------------------------

    def pause(self, where: str) -> None:
        """Let something else happen first; nothing when the driver itself calls."""
        self.wait(where, lambda: True, None)

    def wait(self, where: str, ready: Ready, timeout: float | None) -> bool:
        """Wait until it is ready or the time is up; returns whether it is ready.

        Raises:
            ProcessKilled: the thread's process was killed meanwhile.
        """
        thread = self.current
        if thread is None:
            assert ready(), f"the driver would wait for ever: {where}"
            return True
        if thread.killed:
            raise ProcessKilled
        if not thread.unbroken:
            thread.halt(where, ready, None if timeout is None else self.now + timeout)
        return ready()

    @contextmanager
    def unbroken(self) -> Iterator[None]:
        """Let nothing else happen in the block, as where a real lock is held."""
        thread = self.current
        if thread is not None:
            thread.unbroken += 1
        try:
            yield
        finally:
            if thread is not None:
                thread.unbroken -= 1

    def give_back(self) -> None:
        """End the turn of the current thread."""
        self._baton.release()


class SimulatedEvent(threading.Event):
    """An event whose waiting is the schedule's."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self._schedule = schedule

    def wait(self, timeout: float | None = None) -> bool:
        return self._schedule.wait("wait for an event", self.is_set, timeout)


class SimulatedCondition:
    """A condition; its lock is free whenever it is asked for, since nothing pauses while it is held."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._waiting: list[list[bool]] = []

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    def wait(self, timeout: float | None = None) -> bool:
        woken = [False]
        self._waiting.append(woken)
        try:
            return self._schedule.wait("wait for work", lambda: woken[0], timeout)
        finally:
            self._waiting = [each for each in self._waiting if each is not woken]

    def notify(self, n: int = 1) -> None:
        for woken in [each for each in self._waiting if not each[0]][:n]:
            woken[0] = True

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class SimulatedThreading:
    """Stands where a module of the product has ``threading``."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def Thread(  # noqa: N802  # the module's own name
        self, *, target: Callable[..., object], args: Sequence[object] = (), name: str = "", daemon: bool = True
    ) -> SimulatedThread:
        del daemon
        return SimulatedThread(self._schedule, target, args, name)

    def Event(self) -> SimulatedEvent:  # noqa: N802  # the module's own name
        return SimulatedEvent(self._schedule)

    def Condition(self) -> SimulatedCondition:  # noqa: N802  # the module's own name
        return SimulatedCondition(self._schedule)

    def Lock(self) -> threading.Lock:  # noqa: N802  # nothing pauses while one is held
        return threading.Lock()
