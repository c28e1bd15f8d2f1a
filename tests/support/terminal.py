"""A terminal with a program in it, which remembers every byte that the program wrote to it."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

ROWS, COLUMNS = 40, 120


class Terminal:
    """A context manager: the program runs for the length of the block and is hung up at its end.

    Attributes:
        seen: what was written to it so far; it only grows.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self.seen = b""
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        try:
            self._program = subprocess.Popen(
                argv,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env={**environment, "TERM": "xterm-256color"},
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        self._reader = threading.Thread(target=self._read, name="terminal")
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # nobody has it open any more
                return
            if not data:
                return
            self.seen += data

    @property
    def is_alive(self) -> bool:
        """Whether the program still runs."""
        return self._program.poll() is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._program.terminate()
        self._program.wait(30)
        self._reader.join(30)
        os.close(self._ours)
