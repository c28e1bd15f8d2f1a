"""One process that is not our child: is it alive, tell it to end, notice its death without asking again and again.

A pidfd (pidfd_open(2)) becomes readable when the process ends. Where the kernel or a seccomp profile refuses one,
`watch` returns None and whoever looks at the clock anyway asks `is_alive`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

import psutil


def watch(pid: int, died: Callable[[], None]) -> Callable[[], None] | None:
    """Have `died` called on the running event loop when the process ends.

    Returns:
        What ends the watch, or ``None`` when the kernel cannot watch. A process that is gone already counts as died.
    """
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        loop.call_soon(died)
        return lambda: None
    except OSError:
        return None
    open_descriptors = [descriptor]

    def stop() -> None:
        while open_descriptors:
            loop.remove_reader(open_descriptors[0])
            os.close(open_descriptors.pop())

    def ended() -> None:
        stop()
        died()

    loop.add_reader(descriptor, ended)
    return stop


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end(pid: int, *, force: bool = False) -> None:
    """Tell the process to end, or end it; one that is gone is a success."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL if force else signal.SIGTERM)
