"""One look at everything: the world first, then the database.

In this order, because what is declared is declared before anything is made for it: a thing that was seen and whose
uid is not in the database *afterwards* has no instance. A place that cannot be looked at is left out and said;
nothing is concluded about it. A database that cannot be read ends the look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from controller.errors import CcoError, NotFound
from controller.resources import Instance, Repository
from controller.resources.orphan import NotLookedAt, Orphan, OrphanList
from controller.runtime.choice import Runtimes
from controller.runtime.protocol import Belonging, Runtime
from controller.workspace.inventory import Holding, Inventory
from controller.workspace.types import Unsaved, Workspaces

from .decide import Declared, Seen, belonging_id, find_orphans, holding_id

logger = logging.getLogger(__name__)


class InstanceRows(Protocol):
    """What is asked of the database about instances."""

    def list(self) -> Sequence[Instance]:
        """Return every declared instance."""

    def get_by_uid(self, uid: str) -> Instance:
        """Return the instance with that uid; raises NotFound."""

    def buried(self, uids: Collection[str]) -> frozenset[str]:
        """Return those uids whose instances are remembered to have been deleted."""


class RepositoryRows(Protocol):
    """And about repositories."""

    def list(self) -> Sequence[Repository]:
        """Return every registered repository."""


class Disk(Protocol):
    """What is asked of the disk; see :class:`~controller.workspace.inventory.StateInventory`."""

    def take(self, repositories: Collection[str]) -> Inventory:
        """Return everything of ours."""

    def adopt(self, holding: Holding) -> None:
        """Write down whose a worktree is that only its lock tells of."""

    def tidy(self, holding: Holding) -> None:
        """Remove the instance's folder with what the controller itself put there."""


@dataclass(frozen=True, slots=True)
class Findings:
    """A look and what follows from it.

    Attributes:
        belongings: the runtime's things among the orphans, by the orphan's id.
        holdings: those on disk.
        names: of declared instances.
    """

    orphans: tuple[Orphan, ...]
    skipped: tuple[NotLookedAt, ...]
    belongings: Mapping[str, Belonging] = field(default_factory=dict)
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    names: frozenset[str] = frozenset()

    def as_list(self) -> OrphanList:
        """Return what people are told."""
        return OrphanList(items=self.orphans, skipped=self.skipped)


class Survey:
    """Looks.

    Args:
        networks: names of the networks that instances are put on.
        clock: the time.
    """

    def __init__(
        self,
        *,
        instances: InstanceRows,
        repositories: RepositoryRows,
        runtimes: Runtimes,
        workspaces: Workspaces,
        disk: Disk,
        networks: Collection[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._instances = instances
        self._repositories = repositories
        self._runtimes = runtimes
        self._workspaces = workspaces
        self._disk = disk
        self._networks = frozenset(networks)
        self._clock = clock
        self._aside: dict[str, Runtime] = {}

    def look(self, *, deep: bool = False, disk: bool = True) -> Findings:
        """Look at everything.

        Args:
            deep: also tell which orphaned workspaces hold unsaved work, which reads them whole.
            disk: look at repositories and state directory, too.

        Raises:
            CcoError: the database could not be read, so nothing is known.
        """
        skipped: list[NotLookedAt] = []
        belongings = self._look_at_runtimes(skipped)
        inventory = self._disk.take([each.spec.path for each in self._repositories.list()]) if disk else Inventory()
        skipped += [
            NotLookedAt(part=each.part, reason=each.reason, message=each.message) for each in inventory.failures
        ]
        instances = self._instances.list()
        attempts = {each.metadata.uid: each.status.attempt for each in instances}
        names = frozenset(each.metadata.name for each in instances)
        uids = {each.uid for all_of in belongings.values() for each in all_of}
        unknown = ({each.uid for each in inventory.holdings} | uids) - attempts.keys() - {""}
        declared = Declared(attempts, names, self._instances.buried(unknown), self._networks)
        used = {self._runtimes.default, *(self._runtimes.name_of(each) for each in instances)}
        unsaved = self._examine(inventory, unknown) if deep else {}
        seen = Seen(belongings, inventory, frozenset(used - belongings.keys()), unsaved)
        orphans = find_orphans(declared, seen, self._clock())
        ids = {each.id for each in orphans}
        return Findings(
            orphans,
            tuple(skipped),
            {
                key: each
                for runtime, all_of in belongings.items()
                for each in all_of
                if (key := belonging_id(runtime, each)) in ids
            },
            {key: each for each in inventory.holdings if (key := holding_id(each)) in ids},
            names,
        )

    def is_declared(self, uid: str) -> bool:
        """Tell whether an instance with that uid is declared now: the last question before something is done."""
        try:
            self._instances.get_by_uid(uid)
        except NotFound:
            return False
        return True

    def _look_at_runtimes(self, skipped: list[NotLookedAt]) -> dict[str, tuple[Belonging, ...]]:
        found: dict[str, tuple[Belonging, ...]] = {}
        for name in self._runtimes.names:
            try:
                found[name] = self._glance(name).belongings()
            except CcoError as error:
                skipped.append(NotLookedAt(part=f"runtime {name}", reason=error.reason, message=error.message))
        return found

    def _glance(self, name: str) -> Runtime:
        """Return a runtime; one that no instance has needed so far is not watched from now on because of us."""
        made = self._runtimes.in_use(name, 0.0) or self._aside.get(name) or self._runtimes.aside(name)
        self._aside[name] = made
        return made

    def _examine(self, inventory: Inventory, unknown: Collection[str]) -> dict[str, bool]:
        """Return whether there is unsaved work, for each workspace that could be looked into."""
        found: dict[str, bool] = {}
        for each in inventory.holdings:
            if each.ref is None or each.uid not in unknown or each.uid in found:
                continue
            try:
                found[each.uid] = self._workspaces.inspect(each.ref, deep=True).unsaved is Unsaved.UNSAVED
            except CcoError as error:
                logger.info(
                    "orphaned workspace not examined", extra={"cco_instance": each.instance, "cco_reason": error.reason}
                )
        return found
