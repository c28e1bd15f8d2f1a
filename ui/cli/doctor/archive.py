"""The support bundle's file: a compressed archive, readable by its owner alone, every byte redacted on its way in."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure

from .redaction import Redactor

FOLDER = "cc-orchestrator-support"
LONGEST_TEXT = 1024**2
LONGEST_JSON = 16 * 1024**2


class Archive:
    """A new ``.tar.gz``, mode 0600. Nothing gets in but by :meth:`add`.

    Attributes:
        parts: names of what is in it so far.
        missing: what could not be had, and why.

    Raises:
        Failure: there is a file of that name already.
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, redact: Redactor) -> None:
        self.parts: list[str] = []
        self.missing: dict[str, str] = {}
        self._redact = redact
        self._path = path
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise _taken(path) from None
        self._file = os.fdopen(descriptor, "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w:gz")  # noqa: SIM115  # closed in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.close()
        self._file.close()
        if error is not None:  # half a bundle helps nobody
            self._path.unlink(missing_ok=True)

    def add(self, name: str, content: bytes | str) -> None:
        """Put a part in: redacted first, cut to its newest MiB afterwards, so that no cut can hide a secret."""
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        self._put(name, newest_lines(self._redact(data), LONGEST_TEXT))

    def _put(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(f"{FOLDER}/{self._redact(name.encode()).decode()}")
        member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
        self._tar.addfile(member, io.BytesIO(data))
        self.parts.append(name)

    def add_json(self, name: str, data: Any) -> None:  # noqa: ANN401  # whatever JSON can say
        """Put plain values in."""
        text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
        data = self._redact(f"{text}\n".encode("utf-8", "surrogateescape"))
        if len(data) > LONGEST_JSON:
            self.lack(name, f"it would have {len(data)} bytes, more than {LONGEST_JSON}")
        else:
            self._put(name, data)

    def lack(self, name: str, why: str) -> None:
        """Remember what is not in it."""
        self.missing[name] = " ".join(why.split())[:300]


def refuse_existing(path: Path) -> None:
    """Refuse a name that is taken; nothing of anybody's is overwritten.

    Raises:
        Failure: it is.
    """
    if os.path.lexists(path):
        raise _taken(path)


def _taken(path: Path) -> Failure:
    message = f"--bundle {path}: there is a file of that name already"
    return Failure(message, hint="name another one", code=ExitCode.CONFLICT)


def newest_lines(data: bytes, limit: int) -> bytes:
    """Return whole lines from the end, at most ``limit`` bytes, and say so where something was cut off."""
    if len(data) <= limit:
        return data
    cut = data[-limit:]
    return b"[older lines were left out]\n" + cut[cut.find(b"\n") + 1 :]
