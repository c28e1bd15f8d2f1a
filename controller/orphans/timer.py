"""What happens to orphans without anybody asking: the harmless go, what runs for nobody is stopped. Nothing else.

Only what has been an orphan for an hour, as seen by this very process, is touched: whoever put back a database has
that long to notice. Removed by itself is only what is surely ours and surely nobody's: stopped containers and unused
HOMEs of instances that are remembered to have been deleted, and unused networks of ours. Worktrees and private git
directories are never among them. A container that runs for no declared instance is stopped and stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from controller.beat import Beat
from controller.errors import CcoError
from controller.resources import EventType
from controller.resources.orphan import Origin, Orphan, OrphanKind
from controller.runtime.choice import Runtimes

from .survey import Findings, Survey
from .sweep import Sweeper

logger = logging.getLogger(__name__)

SECONDS = 600.0
GRACE_SECONDS = 3600.0

_HARMLESS = frozenset(
    {
        (OrphanKind.WORKLOAD, Origin.DELETED),
        (OrphanKind.HOME, Origin.DELETED),
        (OrphanKind.NETWORK, Origin.UNUSED),
    }
)
_FIRST_WORKLOADS = (OrphanKind.WORKLOAD, OrphanKind.HOME, OrphanKind.NETWORK)


class OrphanTimer(Beat):
    """Looks every ten minutes.

    Args:
        stop_grace: seconds a container is given to end by itself.
        check: raises unless this controller still has the say.
        monotonic: seconds that only ever grow; a wall clock that jumps shortens no grace.
    """

    def __init__(
        self,
        *,
        survey: Survey,
        sweeper: Sweeper,
        runtimes: Runtimes,
        stop_grace: float,
        check: Callable[[], object],
        seconds: float = SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("orphans", seconds, "orphans not looked for")
        self._survey = survey
        self._sweeper = sweeper
        self._runtimes = runtimes
        self._stop_grace = stop_grace
        self._check = check
        self._monotonic = monotonic
        self._since: dict[str, float] = {}

    def beat(self) -> None:
        """Look once, and act on what has been an orphan for long enough."""
        found = self._survey.look(disk=False)
        now = self._monotonic()
        # What is not seen this time, for whatever reason, begins its hour anew.
        self._since = {each.id: self._since.get(each.id, now) for each in found.orphans}
        due = [each for each in found.orphans if now - self._since[each.id] >= GRACE_SECONDS]
        for each in sorted(due, key=lambda each: _FIRST_WORKLOADS.index(each.kind)):
            if self.stopping:
                return
            try:
                self._act(each, found)
            except CcoError as error:
                logger.warning(
                    "orphan was left as it is",
                    extra={"cco_instance": each.instance, "cco_object": each.name, "cco_reason": error.reason},
                )

    def _act(self, orphan: Orphan, found: Findings) -> None:
        if orphan.kind is OrphanKind.WORKLOAD and orphan.running:
            self._stop_workload(orphan)
        elif orphan.safe and (orphan.kind, orphan.origin) in _HARMLESS:
            self._check()
            self._sweeper.discard(orphan, found)

    def _stop_workload(self, orphan: Orphan) -> None:
        if orphan.origin not in {Origin.DELETED, Origin.UNKNOWN} or self._survey.is_declared(orphan.uid):
            return
        self._check()
        self._runtimes.named(orphan.runtime or "").stop(orphan.uid, grace=self._stop_grace)
        self._sweeper.tell(
            orphan,
            EventType.WARNING,
            "OrphanStopped",
            f"the {orphan.kind} {orphan.name} ran for no declared instance for an hour and was stopped; it stays, and "
            "so does its work: 'cco gc' shows both",
        )
