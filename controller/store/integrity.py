"""A thorough look at the database file, for people who want to know whether it is well."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, text

from . import fence, schema
from .revision import look

MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Integrity:
    """What was found.

    Attributes:
        problems: what SQLite found damaged, in its own words, and rows that refer to nothing; empty = sound.
        schema: version of the tables.
        claim: the newest controller's generation and who it is.
    """

    problems: tuple[str, ...]
    schema: str
    installation_id: str
    revision: int
    claim: fence.Claim


def examine(connection: Connection) -> Integrity:
    """See :meth:`Store.integrity`."""
    found = [
        " ".join(str(line).split()) for line in connection.scalars(text(f"PRAGMA integrity_check({MAX_PROBLEMS})"))
    ]
    problems = [] if found == ["ok"] else found
    for table, row, parent, _ in connection.execute(text("PRAGMA foreign_key_check")):
        problems.append(f"row {row} of {table} refers to a row of {parent} that is not there")
    return Integrity(
        problems=tuple(problems[:MAX_PROBLEMS]),
        schema=str(connection.scalar(text("SELECT version_num FROM alembic_version"))),
        installation_id=str(connection.scalar(select(schema.installation.c.installation_id))),
        revision=look(connection).current,
        claim=fence.look(connection),
    )
