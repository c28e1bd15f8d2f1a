"""The watch over the disk: before it is full, nothing more is started and the instance that fills it is parked.

The engine's own limits end at memory and processes (``--storage-opt size`` needs xfs with project quotas). So agents
report what their instance occupies and how full its file systems are, and this thread looks at the state directory.
What it finds every pass asks for (:class:`DiskVerdict`); what one instance may occupy at most is decided in ``plan``,
from its own report.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.agents import Agents, Report
from controller.beat import Beat
from controller.space import Space

from .observed import DiskVerdict

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
RELIEF_SECONDS = 60.0
"""After one was parked, so long until another one is: what it held may have to be removed by hand."""
FIRST_LOOK_SECONDS = 5.0
"""For so long the loops wait for the first look; a disk that does not answer must not keep them from starting."""


@dataclass(frozen=True, slots=True)
class Occupant:
    """What one instance occupies, and the fullest file system it writes to."""

    held: int
    space: Space | None


def choose(occupants: Mapping[str, Occupant], before: Mapping[str, int], mark: float) -> str | None:
    """Return whom to park, by uid; ``None`` when no file system of an instance is too full.

    Of the instances on full file systems it is the one that grew most since the look before, and among those that
    did not grow the largest.

    Args:
        occupants: by uid.
        before: what each one occupied at the look before.
        mark: share in use from which on a file system is too full.
    """
    pressed = {uid: each for uid, each in occupants.items() if each.space is not None and each.space.is_full(mark)}
    return max(
        pressed,
        key=lambda uid: (pressed[uid].held - before.get(uid, pressed[uid].held), pressed[uid].held, uid),
        default=None,
    )


def why_parked(name: str, chosen: Occupant) -> str:
    """Return what the owner of the chosen one is told."""
    used = chosen.space.used if chosen.space is not None else 1.0
    return (
        f"the disk it writes to is {used:.0%} full and it holds {chosen.held // 1024**2} MiB, more or faster growing "
        f"than others; it was stopped before the machine fails. Free some space, then 'cco retry {name}'"
    )


class DiskWatch(Beat):
    """Looks every ten seconds, for the first time before :meth:`start` is over.

    Starts are held at the first look that finds a disk too full. Somebody is parked at the second in a row: agents
    know at once how full a disk is, but what an instance holds only when they have added it up again, which they do
    within seconds of a great loss. At the first look the largest of before would be taken for the one that grew.

    Args:
        name_of: returns the name of the instance with a uid, ``None`` if there is none.
        places: folders on this machine that must not become full, beside those the agents report.
        mark: share in use, 0 to 1, from which on a file system is too full.
        wake: called with the name of an instance that is to be parked.
    """

    def __init__(
        self,
        links: Agents,
        name_of: Callable[[str], str | None],
        places: tuple[Path, ...],
        mark: float,
        wake: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("disk", LOOK_SECONDS, "disk not looked at", first_within=FIRST_LOOK_SECONDS)
        self._links = links
        self._name_of = name_of
        self._places = places
        self._mark = mark
        self._wake = wake
        self._clock = clock
        self._held: dict[str, int] = {}
        self._full: str | None = None
        self._pressed = False
        self._victim: tuple[str, str] | None = None
        self._relieved_at = -RELIEF_SECONDS

    def verdict(self, uid: str) -> DiskVerdict:
        """Return what a pass over the instance has to know."""
        victim = self._victim
        return DiskVerdict(self._full, victim[1] if victim is not None and victim[0] == uid else None)

    def beat(self) -> None:
        """Look once."""
        heard = self._links.all_heard()
        occupants = {uid: _occupant(each.report) for uid, each in heard.items() if each.connected}
        self._full = self._find_full(occupants)
        if self._full is None:
            self._victim = None  # whoever is started again now has nothing to be parked for
        if self._clock() - self._relieved_at >= RELIEF_SECONDS:
            self._choose(occupants)
        self._held = {uid: each.held for uid, each in occupants.items()}

    def _choose(self, occupants: Mapping[str, Occupant]) -> None:
        """Name the next one to be parked, and wake it; nobody while there is space."""
        uid = choose(occupants, self._held, self._mark)
        name = self._name_of(uid) if uid is not None else None
        again, self._pressed = self._pressed, uid is not None
        if uid is None or name is None:
            self._victim = None
        elif again and (self._victim is None or self._victim[0] != uid):
            self._victim = (uid, why_parked(name, occupants[uid]))
            self._relieved_at = self._clock()
            logger.warning("disk is full", extra={"cco_instance": name})
            self._wake(name)

    def _find_full(self, occupants: Mapping[str, Occupant]) -> str | None:
        looks = ((f"the disk of {place}", _space(place)) for place in self._places)
        reports = (("the disk that instances write to", each.space) for each in occupants.values())
        is_too_full = Space.is_full if self._full is None else Space.is_nearly_full
        for what, space in (*looks, *reports):
            if space is not None and is_too_full(space, self._mark):
                return _too_full(what, space)
        return None


def _occupant(report: Report) -> Occupant:
    usage = report.usage
    total, free = usage.disk_total_bytes, usage.disk_free_bytes
    space = Space(total, free) if total is not None and free is not None else None
    return Occupant((usage.worktree_bytes or 0) + (usage.home_bytes or 0), space)


def _space(place: Path) -> Space | None:
    try:
        found = os.statvfs(place)
    except OSError:  # a folder that is not there (yet) fills nothing
        return None
    return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def _too_full(what: str, space: Space) -> str:
    return (
        f"{what} is {space.used:.0%} full ({space.free // 1024**2} MiB free), so nothing is started: free some space "
        "('cco gc' lists what nobody needs); it goes on by itself then"
    )
