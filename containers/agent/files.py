"""Writing a file so that a reader, or a restart, sees the old content or the new one and nothing between."""

from __future__ import annotations

import json
import os
from pathlib import Path


def replace(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file atomically and durably; it has its mode from the first moment.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is still there.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it is a descriptor
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_json(path: Path, value: object, *, mode: int = 0o600) -> None:
    """Write a value as indented JSON, as `replace` does."""
    replace(path, json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n", mode=mode)


def read_json_object(path: Path) -> dict[str, object]:
    """Read a JSON object; a missing, broken or different file is an empty one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
