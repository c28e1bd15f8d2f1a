"""Removing orphans that a person saw and chose; work is saved first, and what cannot be saved stays.

Everything is looked at again before anything is done, and an id is of one thing of one uid: what changed since the
person looked is not touched. Each step can be repeated, and each removal checks by itself what it removes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller.errors import CcoError, Retryable
from controller.resources import EventType, Kind
from controller.resources.orphan import Origin, Orphan, OrphanKind, SweepReport, SweepResult, Swept
from controller.runtime.choice import Runtimes
from controller.workspace.inventory import Holding
from controller.workspace.types import WorkspaceRef, Workspaces

from .survey import Disk, Findings, Survey

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5.0
_GONE = "it is no orphan any more"
_MESSAGE = "Before its removal as an orphan"
# Containers before the HOMEs they use; what is on disk before the folder it is in.
_ORDER = (
    OrphanKind.WORKLOAD,
    OrphanKind.WORKTREE,
    OrphanKind.GIT_DIRECTORY,
    OrphanKind.SET_ASIDE,
    OrphanKind.QUARANTINE,
    OrphanKind.REMAINS,
    OrphanKind.FOLDER,
    OrphanKind.HOME,
    OrphanKind.NETWORK,
)


class EventLog(Protocol):
    """Where removals are told."""

    def record(self, kind: Kind, name: str, uid: str, type: EventType, reason: str, message: str) -> object:  # noqa: A002  # the field's name
        """Record one event."""


@dataclass
class _Pass:
    """One sweep: what was found, what was asked for, and what became of each workspace so far."""

    found: Findings
    asked: Collection[str]
    workspaces: dict[tuple[str, str], Swept] = field(default_factory=dict)

    def keeps_workspace_of(self, uid: str) -> bool:
        """Tell whether a workspace of the uid had to be kept in this sweep."""
        return any(each.result is SweepResult.KEPT for (of, _), each in self.workspaces.items() if of == uid)


class Sweeper:
    """Removes; one sweep at a time.

    Args:
        check: raises unless this controller still has the say.
    """

    def __init__(
        self,
        *,
        survey: Survey,
        runtimes: Runtimes,
        workspaces: Workspaces,
        disk: Disk,
        events: EventLog,
        check: Callable[[], object],
    ) -> None:
        self._survey = survey
        self._runtimes = runtimes
        self._workspaces = workspaces
        self._disk = disk
        self._events = events
        self._check = check
        self._sweeping = threading.Lock()

    def sweep(self, ids: Sequence[str]) -> SweepReport:
        """Remove the orphans with these ids, as far as that is safe; idempotent.

        Raises:
            Retryable: ``SweepUnderWay``, somebody else's.
            CcoError: the database cannot be read; nothing was done.
        """
        if not self._sweeping.acquire(timeout=BUSY_SECONDS):
            raise Retryable("SweepUnderWay", "orphans are being removed already: wait a moment and look again")
        try:
            found = self._survey.look()
            known = {each.id: each for each in found.orphans}
            asked = dict.fromkeys(ids)
            under_way = _Pass(found, asked)
            chosen = sorted((known[key] for key in asked if key in known), key=lambda each: _ORDER.index(each.kind))
            results = {each.id: self._one(each, under_way) for each in chosen}
            items = [results.get(key) or Swept(id=key, result=SweepResult.GONE, message=_GONE) for key in asked]
            return SweepReport(items=tuple(items), skipped=found.skipped)
        finally:
            self._sweeping.release()

    def _one(self, orphan: Orphan, under_way: _Pass) -> Swept:
        if not orphan.safe:
            return kept(orphan, str(orphan.obstacle), orphan.message)
        try:
            if orphan.origin is not Origin.OLD_ATTEMPT and orphan.uid and self._survey.is_declared(orphan.uid):
                return _swept(orphan, SweepResult.GONE, None, _GONE)
            self._check()
            if orphan.kind is OrphanKind.HOME and under_way.keeps_workspace_of(orphan.uid):
                message = "the work of its instance could not be saved, so the conversation stays as well"
                return kept(orphan, "WorkKept", message)
            if orphan.id in under_way.found.belongings:
                return self.discard(orphan, under_way.found)
            holding = under_way.found.holdings[orphan.id]
            if holding.ref is None:
                self._disk.tidy(holding)
                return self._removed(orphan)
            return self._part(orphan, holding, holding.ref, under_way)
        except CcoError as error:
            return kept(orphan, error.reason, error.message)
        except OSError as error:
            return kept(orphan, "RemovalFailed", f"{error.filename or orphan.name}: {error.strerror}")

    def discard(self, orphan: Orphan, found: Findings) -> Swept:
        """Remove one thing of a runtime; raises what the runtime raises."""
        self._runtimes.named(orphan.runtime or "").discard(found.belongings[orphan.id])
        return self._removed(orphan)

    def _part(self, orphan: Orphan, holding: Holding, ref: WorkspaceRef, under_way: _Pass) -> Swept:
        """Remove the workspace a thing is part of, once for all of its parts, and only if all of them were seen."""
        key = (ref.uid, ref.private)
        if key not in under_way.workspaces:
            parts = [
                name
                for name, each in under_way.found.holdings.items()
                if each.ref is not None and (each.ref.uid, each.ref.private) == key
            ]
            if unseen := [name for name in parts if name not in under_way.asked]:
                what = under_way.found.holdings[unseen[0]].path
                return kept(orphan, "PartsNotSeen", f"{what} belongs to it and would go as well: look again")
            under_way.workspaces[key] = self._remove_workspace(orphan, holding, ref, under_way.found.names)
        outcome = under_way.workspaces[key]
        if outcome.result is SweepResult.KEPT:
            return kept(orphan, outcome.reason or "", outcome.message)
        return self._removed(orphan, outcome.message)

    def _remove_workspace(self, orphan: Orphan, holding: Holding, ref: WorkspaceRef, names: Collection[str]) -> Swept:
        """Save all work and remove the workspace, whose own check refuses where anything is unsaved."""
        try:
            self._disk.adopt(holding)
            head = self._workspaces.collect(ref).head
            snapshot = self._workspaces.snapshot(ref, message=_MESSAGE)
            self._workspaces.remove(ref)
            if ref.instance not in names or "." in _folder_of(ref):  # otherwise its namesake lives there
                self._disk.tidy(holding)
        except CcoError as error:
            return kept(orphan, error.reason, error.message)
        except OSError as error:
            return kept(orphan, "RemovalFailed", f"{error.filename or ref.worktree}: {error.strerror}")
        places = [f"commits on branch {ref.branch!r}"] if head is not None else []
        places += [f"uncommitted work in snapshot {snapshot[:12]}"] if snapshot is not None else []
        return Swept(id=orphan.id, result=SweepResult.REMOVED, message=" and ".join(places))

    def _removed(self, orphan: Orphan, message: str = "") -> Swept:
        text = f"the {orphan.kind} {orphan.name} was removed: it belonged to no instance"
        self.tell(orphan, EventType.NORMAL, "OrphanRemoved", f"{text}; {message}" if message else text)
        return _swept(orphan, SweepResult.REMOVED, None, message)

    def tell(self, orphan: Orphan, kind: EventType, reason: str, message: str) -> None:
        """Tell the log, and the events of the instance that it was of."""
        extra = {"cco_instance": orphan.instance, "cco_object": f"{orphan.kind} {orphan.name}", "cco_reason": reason}
        logger.info("orphan was dealt with", extra=extra)
        if not orphan.instance:
            return
        try:
            self._events.record(Kind.INSTANCE, orphan.instance, orphan.uid, kind, reason, message)
        except CcoError as error:  # what was done is done
            logger.warning("event not recorded", extra={"cco_instance": orphan.instance, "cco_reason": error.reason})


def kept(orphan: Orphan, reason: str, message: str) -> Swept:
    """Return that an orphan stays, and why."""
    return _swept(orphan, SweepResult.KEPT, reason, message)


def _swept(orphan: Orphan, result: SweepResult, reason: str | None, message: str) -> Swept:
    return Swept(
        id=orphan.id,
        kind=orphan.kind,
        name=orphan.name,
        instance=orphan.instance,
        uid=orphan.uid,
        result=result,
        reason=reason,
        message=message,
    )


def _folder_of(ref: WorkspaceRef) -> str:
    return ref.private.split("/")[-2]
