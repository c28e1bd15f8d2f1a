"""Runs looks side by side, each with a deadline: one that hangs or breaks is UNKNOWN, and the others go on."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from controller.errors import CcoError
from controller.resources.check import GROUP_OF, Check, CheckStatus, Fixer, in_order

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 4.0

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look found; see :class:`~controller.resources.check.Check`."""

    status: CheckStatus
    message: str
    fix: str | None = None
    fixable_by: Fixer | None = None


Look = Callable[[], Finding | None]
"""Changes nothing. ``None``: the thing does not exist here, so there is nothing to tell."""


def well(message: str) -> Finding:
    """Return that all is well."""
    return Finding(CheckStatus.OK, message)


def notable(message: str, fix: str | None = None, fixable_by: Fixer | None = None) -> Finding:
    """Return something that works and that somebody should know."""
    return Finding(CheckStatus.WARN, message, fix, fixable_by)


def failed(message: str, fix: str | None = None, fixable_by: Fixer | None = None) -> Finding:
    """Return something that does not work."""
    return Finding(CheckStatus.FAIL, message, fix, fixable_by)


def unknown(message: str) -> Finding:
    """Return that nothing could be found out."""
    return Finding(CheckStatus.UNKNOWN, message)


class Examiner:
    """Keeps one promise: :meth:`examine` returns within about the deadline.

    A look that does not come back cannot be stopped. It is not repeated as long as it has not come back, so that
    asking again and again does not pile up threads.

    Args:
        deadline: seconds for all looks together, as they run side by side.
    """

    def __init__(self, deadline: float = DEADLINE_SECONDS) -> None:
        self._deadline = deadline
        self._under_way: dict[str, float] = {}
        self._lock = threading.Lock()

    def examine(self, looks: Iterable[tuple[str, Look]]) -> tuple[Check, ...]:
        """Run the looks, each under the name of its check, and return what they found in the order of the catalogue."""
        answers: queue.SimpleQueue[tuple[str, Finding | None]] = queue.SimpleQueue()
        found: dict[str, Finding | None] = {}
        awaited: set[str] = set()
        for name, look in looks:
            if (since := self._claim(name)) is not None:
                seconds = time.monotonic() - since
                found[name] = unknown(f"a look that began {seconds:.0f} s ago has not come back: something hangs")
                continue
            awaited.add(name)
            threading.Thread(target=self._run, args=(name, look, answers), name=f"check-{name}", daemon=True).start()
        deadline = time.monotonic() + self._deadline
        while awaited:
            try:
                name, finding = answers.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                break
            awaited.discard(name)
            found[name] = finding
        for name in awaited:
            found[name] = unknown(
                f"the look took longer than {self._deadline:g} s: what it asks hangs, or is overloaded"
            )
        return in_order(tuple(as_check(name, finding) for name, finding in found.items() if finding is not None))

    def _claim(self, name: str) -> float | None:
        with self._lock:
            if name in self._under_way:
                return self._under_way[name]
            self._under_way[name] = time.monotonic()
            return None

    def _run(self, name: str, look: Look, answers: queue.SimpleQueue[tuple[str, Finding | None]]) -> None:
        try:
            finding = look()
        except CcoError as error:
            finding = unknown(error.message)
        except Exception as error:  # whatever it is, the other checks are still worth having
            logger.exception("check broke", extra={"cco_check": name})
            finding = unknown(f"the look broke ({type(error).__name__}: {error})")
        with self._lock:
            self._under_way.pop(name, None)
        answers.put((name, finding))


def as_check(name: str, finding: Finding) -> Check:
    """Return what was found under the name of its check.

    Raises:
        KeyError: the name is not in the catalogue.
    """
    return Check(
        name=name,
        group=GROUP_OF[name],
        status=finding.status,
        message=finding.message,
        fix=finding.fix,
        fixable_by=finding.fixable_by,
    )


class Shared(Generic[Value]):
    """A value that several looks need: asked for once, by whoever is first, and awaited with a deadline by all."""

    def __init__(self, ask: Callable[[], Value]) -> None:
        self._ask = ask
        self._starting = threading.Lock()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._value: Value | None = None
        self._error: Exception | None = None

    def get(self) -> Value:
        """Return it, however long that takes; raises what asking raised."""
        self._begin()
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # done without an error, so there is a value

    def peek(self, timeout: float) -> Value | None:
        """Return it if it is there within ``timeout`` seconds and asking did not fail."""
        self._begin()
        self._done.wait(timeout)
        return self._value

    def _begin(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="check-shared", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._ask()
        except Exception as error:  # noqa: BLE001  # handed to whoever asks
            self._error = error
        finally:
            self._done.set()
