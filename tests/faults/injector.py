"""What happens at the k-th call of a seam: nothing, a crash before or after it, an error, a delay, a stale answer.

``seams.py`` puts an injector between the product and Docker, git, SQLite and files, without test code in the product.
Every call gets a number; a recording run counts them (K), and each further run names one of them. A controller that
crashed is dead: whatever its unwinding still tries (closing, cleaning up) does not reach the world any more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class Mode(StrEnum):
    """What goes wrong."""

    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"
    ERROR = "error"
    LOST_ANSWER = "lost_answer"
    DELAY = "delay"
    STALE = "stale"
    DROP = "drop"


class Seam(StrEnum):
    """Where side effects go."""

    DOCKER = "docker"
    GIT = "git"
    SQL = "sql"
    FILE = "file"
    AGENT = "agent"
    EVENT = "event"


LISTING = "GET /containers/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a seam; ``writes`` tells an act from a look."""

    seam: Seam
    what: str
    writes: bool

    def __str__(self) -> str:
        return f"{self.seam} {self.what}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at which call, counted from 0 among those that the mode applies to."""

    mode: Mode
    at: int


def applies(mode: Mode, call: Call) -> bool:
    """Tell whether a call counts for a mode.

    A crash before or after a look is a crash between two acts, which the acts' own crashes cover.
    """
    if mode in {Mode.CRASH_BEFORE, Mode.CRASH_AFTER}:
        return call.writes
    if mode is Mode.LOST_ANSWER:
        return call.writes and call.seam in {Seam.DOCKER, Seam.AGENT}
    if mode is Mode.STALE:
        return call.seam is Seam.DOCKER and call.what in {"inspect", LISTING}
    if mode is Mode.DROP:
        return call.seam is Seam.EVENT
    return call.seam is not Seam.EVENT


class Crash(BaseException):  # not an error of the product: nothing there may catch it
    """The controller is gone."""


def crash_here() -> None:
    """Let the controller die within this process."""
    raise Crash


def die_for_good() -> None:
    """Let this process die as ``kill -9`` does."""
    os._exit(137)


class Injector:
    """See the module's docstring; safe to use from many threads.

    Args:
        fault: ``None`` = only record.
        die: what a crash is.
        note: called with each call as it begins.

    Attributes:
        calls: all of them, in order.
        active: while false, calls pass unseen: a test's own acts.
        fired: the call the fault happened at.
    """

    def __init__(
        self,
        fault: Fault | None = None,
        *,
        die: Callable[[], None] = crash_here,
        delay: float = 2.0,
        note: Callable[[Call], None] | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.active = True
        self.dead = False
        self.fired: Call | None = None
        self._fault = fault
        self._die = die
        self._delay = delay
        self._note = note or (lambda _: None)
        self._lock = threading.Lock()
        self._seen = 0

    def before(self, call: Call, error: Callable[[], Exception] | None = None) -> Mode | None:
        """Announce a call. Returns the mode that is to happen at it and that the caller has to carry on with.

        Raises:
            Crash: the controller dies here, or is dead already.
        """
        if not self.active:
            return None
        with self._lock:
            if self.dead:
                raise Crash
            self._note(call)
            self.calls.append(call)
            mode = self._due(call)
        if mode is Mode.CRASH_BEFORE:
            self._crash()
        if mode is Mode.ERROR and error is not None:
            raise error()
        if mode is Mode.DELAY:
            threading.Event().wait(self._delay)
        return mode

    def after(self, mode: Mode | None, error: Callable[[], Exception] | None = None) -> None:
        """Announce that the call did its work.

        Raises:
            Crash: the controller dies here.
        """
        if mode is Mode.CRASH_AFTER:
            self._crash()
        if mode is Mode.LOST_ANSWER and error is not None:
            raise error()

    def through(
        self,
        call: Call,
        act: Callable[[], T],
        error: Callable[[], Exception] | None = None,
        let_go: Callable[[T], object] = lambda _: None,
    ) -> tuple[T, Mode | None]:
        """Do one whole call; returns its result, and the mode for a caller that has to carry on with it.

        Args:
            let_go: closes what the call has opened when the controller dies right after it.
        """
        mode = self.before(call, error)
        try:
            result = act()
        except Exception:
            if mode is Mode.CRASH_AFTER:
                self.after(mode)
            raise
        try:
            self.after(mode, error)
        except BaseException:
            let_go(result)
            raise
        return result, mode

    def revive(self) -> None:
        """Let a new controller live in this process."""
        self.dead = False

    def _due(self, call: Call) -> Mode | None:
        fault = self._fault
        if fault is None or not applies(fault.mode, call):
            return None
        number, self._seen = self._seen, self._seen + 1
        if number != fault.at:
            return None
        self.fired = call
        return fault.mode

    def _crash(self) -> None:
        self.dead = True
        self._die()


def count(calls: list[Call], mode: Mode) -> int:
    """Return K: at how many of the calls the mode can happen."""
    return sum(applies(mode, call) for call in calls)
