"""inotify(7) on the folder of records: every change of every workload is a file that appears, closes or goes.

Nothing is polled: a shim that is killed closes its ``alive`` file, and that is an event like the others.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from controller.errors import CcoError, Unavailable
from controller.runtime.protocol import Resync

from .records import Record, Records

logger = logging.getLogger(__name__)

_CLOSE_WRITE, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_OVERFLOW, _IGNORED = 0x4000, 0x8000
_ONLY_FOLDER = 0x01000000
_LOST = _DELETE_SELF | _MOVE_SELF | _IGNORED
_EVENT = struct.Struct("iIII")
_TELLING = ("workload", "limits", "run", "state", "exit", "alive")
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_STOP_SECONDS = 0.5
"""How long the end of a watch may go unnoticed; an event is passed on at once."""


class Folder:
    """One inotify descriptor on one folder; that the folder above it moves is noticed, too.

    Raises:
        OSError: the folder is not there, or the user has too many descriptors.
    """

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        gone = _DELETE_SELF | _MOVE_SELF | _ONLY_FOLDER
        for folder, mask in ((path.parent, gone), (path, gone | _CLOSE_WRITE | _MOVED_TO | _CREATE | _DELETE)):
            if libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask) < 0:
                number = ctypes.get_errno()
                self.close()
                raise OSError(number, os.strerror(number), str(folder))

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)

    def changed(self, seconds: float) -> list[str] | None:
        """Return the names of what changed, within the time; ``None`` when some were lost or the folder has gone."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        if not poller.poll(seconds * 1000):
            return []
        data = os.read(self._descriptor, 65536)
        names: list[str] = []
        while data:
            _, mask, _, length = _EVENT.unpack_from(data)
            name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
            data = data[_EVENT.size + length :]
            if mask & (_OVERFLOW | _LOST):
                return None
            names.append(os.fsdecode(name))
        return names


def watch_records(records: Records, installation: str, stop: threading.Event) -> Iterator[str | Resync]:
    """Yield what changed until ``stop`` is set; the folder may come and go meanwhile."""
    delay = _FIRST_DELAY
    while not stop.is_set():
        try:
            folder = Folder(records.folder)
        except OSError as error:
            if delay == _FIRST_DELAY:
                logger.warning("lost the folder of workloads", extra={"cco_reason": str(error)})
            stop.wait(min(delay, _STOP_SECONDS))
            delay = min(delay * 2, _LONGEST_DELAY)
            continue
        try:
            delay = _FIRST_DELAY
            known = _known(records, installation)
            yield Resync()
            yield from _pass_on(folder, records, installation, known, stop)
        except CcoError as error:
            logger.warning("workloads could not be read", extra={"cco_reason": error.message})
            stop.wait(_FIRST_DELAY)
        finally:
            folder.close()


def _known(records: Records, installation: str) -> dict[str, str]:
    return {record.name: record.uid for record in records.all() if record.installation == installation}


def _pass_on(
    folder: Folder, records: Records, installation: str, known: dict[str, str], stop: threading.Event
) -> Iterator[str]:
    """Yield uids until the watch is lost; ``known`` tells whose the files of a removed workload were."""
    while not stop.is_set():
        names = folder.changed(_STOP_SECONDS)
        if names is None:
            return
        for workload in dict.fromkeys(_workload(name) for name in names):
            if workload is None:
                continue
            record: Record | None = None
            try:
                record = records.read(workload)
            except Unavailable:
                return
            if record is not None and record.installation == installation:
                known[workload] = record.uid
            if workload in known:
                yield known[workload]
            if record is None:
                known.pop(workload, None)


def _workload(name: str) -> str | None:
    """Return the workload whose file this is; ``None`` for what tells nothing."""
    workload, _, suffix = name.partition(".")
    return workload if suffix in _TELLING else None
