"""Logging: one line per message on stderr, its bound fields (``extra={"cco_...": ...}``) behind it as ``key=value``."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_PREFIX = "cco_"


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


def configure_logging(level: str) -> None:
    """Send all logging of this process to stderr; for entry points only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("urllib3", "docker", "git", "httpx", "httpcore", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
