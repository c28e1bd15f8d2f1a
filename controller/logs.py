"""Logging: one line per message on stderr, its bound fields (``extra={"cco_...": ...}``) behind it as ``key=value``.

The newest lines are kept in memory, too, for ``cco doctor --bundle``: wherever stderr goes, they can be had.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime

_PREFIX = "cco_"
_RECENT: deque[str] = deque(maxlen=2000)
_LONGEST_RECENT = 4000


class FieldFormatter(logging.Formatter):
    """``2026-01-31T12:00:00Z INFO controller.streams: message instance=web reason="no such"``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # same
        """Return the time in UTC, to the second."""
        del datefmt
        return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the base class's own name
        """Append the bound fields to the message."""
        fields = (
            f"{key.removeprefix(_PREFIX)}={_quote(value)}"
            for key, value in vars(record).items()
            if key.startswith(_PREFIX)
        )
        return " ".join((super().formatMessage(record).replace("\n", "\\n"), *fields))


def _quote(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text and '"' not in text else json.dumps(text)


class RecentLines(logging.Handler):
    """Keeps the newest 2,000 messages of this process, long ones cut."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        try:
            line = self.format(record)
            if len(line) > _LONGEST_RECENT:  # between words: half a secret would not be recognised as one
                line = line[:_LONGEST_RECENT].rpartition(" ")[0] + " ..."
            _RECENT.append(line)
        except Exception:  # noqa: BLE001  # as every handler: a message that cannot be written stops nobody
            self.handleError(record)


def recent_lines() -> str:
    """Return the newest messages of this process, oldest first; empty where logging was not configured."""
    return "".join(f"{line}\n" for line in _RECENT.copy())


def configure_logging(level: str) -> None:
    """Send all logging of this process to stderr and keep the newest of it; for entry points only."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr), RecentLines()]
    for handler in handlers:
        handler.setFormatter(FieldFormatter())
    logging.basicConfig(level=level, handlers=handlers, force=True)
    for noisy in ("urllib3", "docker", "git", "httpx", "httpcore", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
