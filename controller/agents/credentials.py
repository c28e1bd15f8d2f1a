"""The credentials as agents are told them: looked at once a second at most, however many agents report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from controller.errors import CcoError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class CurrentCredentials:
    """Belongs to the event loop of ``link``.

    Args:
        read: returns the current credentials; reads files.
    """

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read
        self._values: dict[str, str] | None = None
        self._next_look = 0.0
        self._complaint = ""

    def look(self, now: float, *, at_once: bool = False) -> dict[str, str] | None:
        """Return the credentials, ``None`` when they cannot be read; what is wrong is logged once until it changes.

        Args:
            now: seconds of the event loop.
            at_once: they may not be a second old.
        """
        if at_once or now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            try:
                self._values, self._complaint = dict(self._read()), ""
            except CcoError as error:
                if error.message != self._complaint:
                    extra = {"cco_reason": error.reason, "cco_error": error.message}
                    logger.warning("credentials unreadable", extra=extra)
                self._values, self._complaint = None, error.message
        return self._values
