"""The fence: a controller that was overtaken cannot write, whatever it still believes.

Each controller that begins to work claims the database, which raises a generation. From then on, every transaction
of its store first compares that generation with its own, inside the same ``BEGIN IMMEDIATE``: nobody can claim
between the comparison and the commit. A lock alone would not do, because a process may be paused between looking at
its lock and writing, for any length of time. Stores that never claimed (the API's) are not fenced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from controller.errors import Fenced, Terminal

from . import schema

_TABLE = schema.installation
_LOOK = select(_TABLE.c.controller_generation, _TABLE.c.controller)

GENERATION = (
    "SELECT controller_generation FROM installation"  # in every transaction: SQLAlchemy's own way takes twice as long
)


class Claim(NamedTuple):
    """The newest claim. ``holder`` is for people; ``None`` when no controller ever worked with the database."""

    generation: int
    holder: str | None


def look(connection: Connection) -> Claim:
    """Return the newest claim as this transaction sees it."""
    row = connection.execute(_LOOK).one()
    return Claim(int(row.controller_generation), row.controller)


class Fence:
    """One process's side of it.

    Attributes:
        generation: of our own claim; ``None`` = not fenced.
    """

    def __init__(self) -> None:
        self.generation: int | None = None
        self._lost: Callable[[Terminal], object] | None = None

    def raise_generation(self, connection: Connection, holder: str, at_least: int) -> int:
        """Write a claim that is newer than every other one; returns its generation."""
        generation = max(look(connection).generation, at_least) + 1
        connection.execute(update(_TABLE).values(controller_generation=generation, controller=holder))
        return generation

    def stand_behind(self, generation: int, lost: Callable[[Terminal], object] | None) -> None:
        """Compare with this generation from now on; ``lost`` is called when the claim is found to be an old one."""
        self.generation, self._lost = generation, lost

    def check(self, connection: Connection) -> None:
        """Compare.

        Raises:
            Fenced: another controller has claimed the database since.
        """
        if self.generation is None:
            return
        if connection.exec_driver_sql(GENERATION).scalar() != self.generation:
            newest = look(connection)
            error = Fenced(
                "Fenced",
                f"another controller (process {newest.holder or 'unknown'}) has taken over; this one has stopped all "
                "work and changes nothing more",
            )
            self.lose(error)
            raise error

    def lose(self, error: Terminal) -> None:
        """Tell whoever claimed that it is over."""
        if self._lost is not None:
            self._lost(error)
