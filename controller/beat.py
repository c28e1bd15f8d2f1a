"""Something that is done at a steady pace, in a thread of its own, whatever happens to a single time."""

from __future__ import annotations

import logging
import threading

from .errors import CcoError


class Beat:
    """Base of the controller's clocks: a subclass says what is done in :meth:`beat`.

    Args:
        name: of the thread.
        seconds: between two beats; the first comes after that time.
        failure: what the log says when one failed, for example ``usage not recorded``.
        first_within: the first beat comes at once, and :meth:`start` waits so many seconds for its end.
    """

    def __init__(self, name: str, seconds: float, failure: str, *, first_within: float | None = None) -> None:
        self._seconds = seconds
        self._failure = failure
        self._first_within = first_within
        self._first_is_over = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def beat(self) -> None:
        """Do it once."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        if self._first_within is not None:  # in the thread, too: a look at a disk that does not answer may never end
            self._first_is_over.wait(self._first_within)

    def stop(self) -> None:
        """End and join the thread; idempotent, also when it never began."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    @property
    def stopping(self) -> bool:
        """Whether the end was asked for; a long beat looks at it."""
        return self._stop.is_set()

    def _run(self) -> None:
        if self._first_within is not None:
            self._beat_once()
        self._first_is_over.set()
        while not self._stop.wait(self._seconds):
            self._beat_once()

    def _beat_once(self) -> None:
        logger = logging.getLogger(type(self).__module__)
        try:
            self.beat()
        except CcoError as error:
            logger.warning(self._failure, extra={"cco_reason": error.reason})
        except Exception:  # the thread must outlive a bug, or it would never be done again
            logger.exception(self._failure)
