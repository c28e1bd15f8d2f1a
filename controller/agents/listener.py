"""The listening socket of one instance, all on the event loop of ``link``.

It takes in a connection at a time and rests after each: an agent that connects without end waits in the kernel, where
it costs nobody anything. No server of the event loop's own: those take in whatever comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from .allowance import Allowance

logger = logging.getLogger(__name__)

SOCKET_NAME = "controller.sock"
REST_SECONDS = 0.1
"""Between two connections; an agent needs one, and another when it or the controller was replaced."""
_BACKLOG = 16
_FAILED_REST_SECONDS = 1.0
_WARNING_SECONDS = 60.0


class Listener:
    """Listens from the beginning; must be made on the event loop.

    Args:
        directory: the socket's folder.
        make: returns what is to be done with a connection.

    Raises:
        OSError: the socket cannot be made.
    """

    def __init__(self, directory: Path, make: Callable[[], asyncio.Protocol]) -> None:
        self._path = directory / SOCKET_NAME
        self._make = make
        self._warnings = Allowance(1, _WARNING_SECONDS)
        self._socket = _bind(directory)
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(lambda _: self._socket.close())

    @property
    def is_there(self) -> bool:
        """Whether an agent finds it."""
        return self._path.exists()

    def close(self) -> None:
        """Take nobody in any more, from this moment on; idempotent."""
        if self._task.cancel():
            with contextlib.suppress(OSError):  # it goes with its folder, or when the next one takes its place
                self._path.unlink()

    async def _run(self) -> None:
        while True:
            await self._take_in()

    async def _take_in(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = await loop.sock_accept(self._socket)
            try:
                await loop.connect_accepted_socket(self._make, connection)
            except BaseException:
                connection.close()
                raise
        except OSError as error:  # no more descriptors, for example: it is still in the queue
            if self._warnings.take(loop.time()):
                extra = {"cco_path": str(self._path), "cco_error": error.strerror}
                logger.warning("agent connection not taken in", extra=extra)
            await asyncio.sleep(_FAILED_REST_SECONDS)
        await asyncio.sleep(REST_SECONDS)


def _bind(directory: Path) -> socket.socket:
    """Return a listening socket in the folder, reached through a file descriptor.

    The path of a unix socket is limited to 108 bytes; the state directory may be deeper than that.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path = f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(SOCKET_NAME, dir_fd=descriptor)
            sock.bind(path)
            Path(path).chmod(0o666)  # the container's user is not ours; the folder above is closed to everybody else
            sock.listen(_BACKLOG)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
    finally:
        os.close(descriptor)
    return sock
