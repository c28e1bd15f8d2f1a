"""The loop of one kind: worker threads take names off the queue and call the reconciler.

The whole retry policy is :func:`Controller._settle`. Where the names come from: ``sources``. Where a pass goes:
``reconciler``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.errors import CcoError, Retryable, Terminal

from .workqueue import Workqueue

logger = logging.getLogger(__name__)

SOURCE_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a pass is asked for: a name, and nothing about why."""

    name: str


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of a pass that went well.

    Attributes:
        requeue_after: seconds until the next pass is wanted even if nothing happens; ``None`` = when something does.
        did: what it did, comparable. A pass that did what the one right before it did has changed nothing that matters,
            so the next one waits like one after a failure.
    """

    requeue_after: float | None = None
    did: object = None


class Reconciler(Protocol):
    """Brings one object a step nearer to its spec; idempotent, and safe to stop anywhere."""

    def reconcile(self, request: Request) -> Result:
        """Do one pass; raises :class:`Retryable` or :class:`Terminal`, both already told in the status."""


class Source(Protocol):
    """Something that puts names on the queue: it says that to look, never what to see."""

    def run(self, queue: Workqueue[Request], stop: threading.Event) -> None:
        """Feed the queue until ``stop`` is set; returns within a second of that."""


class Controller:
    """Workers and sources around one queue.

    Args:
        name: for logs and thread names.
        workers: passes at the same time; one name is never in two of them.
    """

    def __init__(self, name: str, reconciler: Reconciler, sources: Sequence[Source], *, workers: int) -> None:
        self.queue: Workqueue[Request] = Workqueue()
        self._name = name
        self._reconciler = reconciler
        self._sources = sources
        self._workers = workers
        self._stop = threading.Event()
        self._did: dict[Request, object] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start all threads and return; the sources announce everything that exists."""
        jobs = [(f"{self._name}-{type(source).__name__}", self._feed, source) for source in self._sources]
        self._threads = [threading.Thread(target=run, args=(arg,), name=name, daemon=True) for name, run, arg in jobs]
        self._threads += [
            threading.Thread(target=self._work, name=f"{self._name}-worker-{number}", daemon=True)
            for number in range(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Let running passes end and join all threads, each for at most ``timeout`` seconds."""
        self._stop.set()
        self.queue.shut_down()
        for thread in self._threads:
            thread.join(timeout)

    def _feed(self, source: Source) -> None:
        """Run a source; one that breaks or ends is started again, since losing it would make the loop deaf."""
        while not self._stop.is_set():
            try:
                source.run(self.queue, self._stop)
            except Exception:
                logger.exception("source failed", extra={"cco_source": type(source).__name__})
            self._stop.wait(SOURCE_PAUSE_SECONDS)

    def _work(self) -> None:
        while self.process_next():
            pass

    def process_next(self, timeout: float | None = None) -> bool:
        """Do one pass; returns ``False`` when the queue is shut down or stayed empty for ``timeout`` seconds."""
        request = self.queue.get(timeout)
        if request is None:
            return False
        try:
            self._settle(request)
        finally:
            self.queue.done(request)
        return True

    def _settle(self, request: Request) -> None:
        """Run the reconciler and turn its outcome into the next wish."""
        try:
            result = self._reconciler.reconcile(request)
        except Retryable as error:
            self._log("pass postponed", request, error)
            self.queue.add_rate_limited(request, error.delay or 0.0)
        except Terminal as error:
            self._log("pass ended for good", request, error)
            self.queue.forget(request)
        except Exception:
            logger.exception("pass failed", extra={"cco_kind": self._name, "cco_name": request.name})
            self.queue.add_rate_limited(request)
        else:
            self._go_on(request, result)

    def _go_on(self, request: Request, result: Result) -> None:
        before = self._did.pop(request, None)
        if result.did:
            self._did[request] = result.did
            if result.did == before:
                self.queue.add_rate_limited(request, result.requeue_after or 0.0)
                return
        self.queue.forget(request)
        if result.requeue_after is not None:
            self.queue.add_after(request, result.requeue_after)

    def _log(self, message: str, request: Request, error: CcoError) -> None:
        extra = {"cco_kind": self._name, "cco_name": request.name, "cco_reason": error.reason}
        logger.warning("%s: %s", message, error.message, extra=extra)
