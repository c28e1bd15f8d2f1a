"""Waiting for a state of the world: looks again until it is there, and says what was missing when time is up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = threading.Event()


def eventually(look: Callable[[], T], *, timeout: float, what: str, pause: float = 0.05) -> T:
    """Return the first true value of ``look``; errors of the look count as not yet.

    Raises:
        AssertionError: after ``timeout`` seconds, with the last value or error.
    """
    end = time.monotonic() + timeout
    while True:
        last: object
        try:
            value = look()
            if value:
                return value
            last = value
        except Exception as error:  # noqa: BLE001  # whatever it is, it is only told when time is up
            last = error
        if time.monotonic() >= end:
            msg = f"not within {timeout:.0f} s: {what}; last look: {last!r}"
            raise AssertionError(msg)
        _PAUSE.wait(pause)
