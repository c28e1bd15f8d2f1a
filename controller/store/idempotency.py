"""Idempotency keys: a POST repeated with the same key is answered as the first time, for a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select

from . import schema
from .database import Database

_TABLE = schema.idempotency_keys
LIFETIME = timedelta(hours=24)

_FIND = select(_TABLE.c.request_hash, _TABLE.c.kind, _TABLE.c.result).where(
    _TABLE.c.key == bindparam("used_key"), _TABLE.c.created_at > bindparam("oldest")
)
_FORGET = delete(_TABLE).where(_TABLE.c.created_at <= bindparam("oldest"))
_REMEMBER = _TABLE.insert()


class Remembered(NamedTuple):
    """``request_hash`` tells whether it is the same request; ``result`` is a uid or id of that ``kind``."""

    request_hash: str
    kind: str
    result: str


class IdempotencyStore:
    """Use both methods inside the transaction of the write they stand for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: str) -> Remembered | None:
        """Return what the key was used for, if that is less than a day ago."""
        with self._database.read() as connection:
            row = connection.execute(_FIND, {"used_key": key, "oldest": datetime.now(UTC) - LIFETIME}).first()
        return None if row is None else Remembered(row.request_hash, row.kind, row.result)

    def remember(self, key: str, request_hash: str, kind: str, result: str) -> None:
        """Keep what the key was used for, and forget old keys."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            connection.execute(_FORGET, {"oldest": now - LIFETIME})
            connection.execute(
                _REMEMBER,
                {"key": key, "request_hash": request_hash, "kind": kind, "result": result, "created_at": now},
            )
