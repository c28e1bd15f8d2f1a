"""The process that git is: as whom it runs, how much memory it may have, how it is heard and how it ends."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from functools import cache
from typing import Any

from controller.errors import Terminal

_BLOCK = 64 << 10


def as_user(owner: tuple[int, int], git_dir: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return what makes a process run as ``owner``: words before the command, arguments of the process.

    ``setpriv`` (util-linux) does it after the exec. Python's own ``user=`` has to fork this whole process instead of
    sharing its memory, which costs 10 ms at 100 MiB; it is the fallback.
    """
    if owner[0] == os.geteuid():
        return (), {}
    if os.geteuid() != 0:
        raise Terminal(
            "RepositoryNotOwned",
            f"{git_dir} belongs to uid {owner[0]} and the controller runs as uid {os.geteuid()}: git would run what "
            "the other user's configuration says. Run the controller as that user or as root.",
        )
    if not _has("setpriv"):
        return (), {"user": owner[0], "group": owner[1], "extra_groups": []}
    return ("setpriv", f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups", "--no-new-privs"), {}


def with_memory(most: int | None) -> tuple[str, ...]:
    """Return the words before a command that bound its memory (``prlimit``, util-linux); without that none.

    What counts is what it writes to: git maps whole packs, and an honest one may be larger than any memory.
    """
    return () if most is None or not _has("prlimit") else ("prlimit", f"--data={most}:{most}")


@cache
def _has(program: str) -> bool:
    return shutil.which(program) is not None


def listen(process: subprocess.Popen[bytes], limit: int, timeout: float) -> tuple[bytes, bytes]:
    """Wait for the end of a process as ``communicate`` does, or stop it once it has said more than ``limit`` bytes."""
    if process.stdout is None or process.stderr is None:  # both were asked for
        raise AssertionError
    deadline = time.monotonic() + timeout
    said, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ, said)
        ready.register(process.stderr, selectors.EVENT_READ, err)
        while ready.get_map() and len(said) <= limit:
            for key, _ in ready.select(max(0.0, deadline - time.monotonic())):
                block = os.read(key.fd, _BLOCK)
                if not block:
                    ready.unregister(key.fileobj)
                key.data.extend(block)
            del err[:-_BLOCK]  # its last words are what counts
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(process.args, timeout)
    if len(said) > limit:
        kill(process)
    else:
        process.wait(max(1.0, deadline - time.monotonic()))
    _close(process)
    return bytes(said), bytes(err)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process group and close the pipes to it."""
    kill(process)
    _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                continue


def kill(process: subprocess.Popen[bytes]) -> None:
    """Stop a process group: politely, so that git removes its lock files, then for good."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
        break
