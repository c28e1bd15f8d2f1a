"""Which things are orphans, and whether each may be removed; pure.

``survey.py`` hands in what it saw. Names decide nothing here: a thing belongs to an instance if it carries its uid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from controller.resources.orphan import Obstacle, Origin, Orphan, OrphanKind
from controller.runtime.protocol import LABEL_ATTEMPT, Belonging, BelongingKind
from controller.workspace.inventory import Holding, HoldingKind, Inventory

YOUNG = timedelta(hours=1)
"""Younger things are left alone: somebody may still be making them, or may not have noticed yet."""

_ON_DISK_WORK = frozenset({HoldingKind.WORKTREE, HoldingKind.GIT_DIRECTORY, HoldingKind.SET_ASIDE})


@dataclass(frozen=True, slots=True)
class Declared:
    """What the database says, read after the world was looked at.

    Attributes:
        attempts: uid of every declared instance, to the attempt it is at.
        names: of every declared instance.
        deleted: those of the other uids that are known to have been deleted.
        networks: names of networks that instances are put on.
    """

    attempts: Mapping[str, int]
    names: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there.

    Attributes:
        belongings: of each runtime, by its name; one that could not be looked at is absent.
        inventory: of the disk.
        blind: runtimes that instances use and that could not be looked at: something may be running there.
        unsaved: for each uid that was examined, whether its workspace holds work that is saved nowhere else.
    """

    belongings: Mapping[str, Collection[Belonging]]
    inventory: Inventory
    blind: frozenset[str] = frozenset()
    unsaved: Mapping[str, bool] = field(default_factory=dict)


def find_orphans(declared: Declared, seen: Seen, now: datetime) -> tuple[Orphan, ...]:
    """Return everything of ours that belongs to no declared instance, by instance and kind."""
    found = [
        *(
            orphan
            for runtime, belongings in seen.belongings.items()
            for orphan in _of_runtime(declared, seen, runtime, belongings, now)
        ),
        *_on_disk(declared, seen, now),
    ]
    order = list(OrphanKind)
    return tuple(sorted(found, key=lambda each: (each.instance, each.uid, order.index(each.kind), each.name)))


def belonging_id(runtime: str, belonging: Belonging) -> str:
    """Return the orphan's id: of exactly this thing of exactly this uid."""
    return _digest(runtime, belonging.kind, belonging.id, belonging.uid)


def holding_id(holding: Holding) -> str:
    """Return the same for a thing on disk."""
    return _digest("disk", holding.kind, holding.path, holding.uid)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:20]


def _of_runtime(
    declared: Declared, seen: Seen, runtime: str, belongings: Iterable[Belonging], now: datetime
) -> Iterator[Orphan]:
    alive = _alive(seen)
    for each in belongings:
        origin = _origin_of(declared, each)
        if origin is None:
            continue
        obstacle, message = _obstacle_of(each, alive, now)
        if origin is Origin.UNNAMED and obstacle is None:
            obstacle, message = Obstacle.NOT_SURELY_OURS, "it does not say of which instance it is: remove it by hand"
        yield Orphan(
            id=belonging_id(runtime, each),
            kind=OrphanKind(each.kind.value),
            name=each.name,
            instance=each.instance,
            uid=each.uid,
            runtime=runtime,
            created_at=each.created_at,
            running=each.running,
            origin=origin,
            safe=obstacle is None,
            obstacle=obstacle,
            message=message,
        )


def _origin_of(declared: Declared, each: Belonging) -> Origin | None:
    """Return why a runtime's thing is an orphan; ``None`` when it is none."""
    if each.kind is BelongingKind.NETWORK:
        return None if each.name in declared.networks else Origin.UNUSED
    if not each.uid:
        return Origin.UNNAMED
    if each.uid in declared.attempts:
        old = each.kind is BelongingKind.WORKLOAD and not each.running
        return Origin.OLD_ATTEMPT if old and _is_earlier(each, declared.attempts[each.uid]) else None
    return Origin.DELETED if each.uid in declared.deleted else Origin.UNKNOWN


def _is_earlier(each: Belonging, attempt: int) -> bool:
    text = each.labels.get(LABEL_ATTEMPT, "")
    return text.isdecimal() and 0 < int(text) < attempt


def _obstacle_of(each: Belonging, alive: frozenset[str], now: datetime) -> tuple[Obstacle | None, str]:
    if each.running:
        if each.kind is BelongingKind.WORKLOAD:
            return Obstacle.RUNNING, "it is running: stop it first, or wait until it is stopped"
        return Obstacle.RUNNING, "something that is running uses it"
    if each.kind is not BelongingKind.WORKLOAD and each.uid in alive:
        return Obstacle.RUNNING, "its instance is still running: stop that first"
    return _too_young(each.created_at, now)


def _too_young(created_at: datetime | None, now: datetime) -> tuple[Obstacle | None, str]:
    if created_at is not None and now - created_at < YOUNG:
        return Obstacle.TOO_YOUNG, "it is younger than an hour: somebody may still be making it"
    return None, ""


def _on_disk(declared: Declared, seen: Seen, now: datetime) -> Iterator[Orphan]:
    alive = _alive(seen)
    ours = {each.uid for all_of in seen.belongings.values() for each in all_of} | declared.deleted
    for each in seen.inventory.holdings:
        if each.uid in declared.attempts or (each.instance in declared.names and _goes_by_name(each)):
            continue
        origin = Origin.UNNAMED if not each.uid else Origin.UNKNOWN
        obstacle, message = _obstacle_on_disk(each, seen, alive, ours=each.ours or each.uid in ours)
        if obstacle is None:
            obstacle, message = _too_young(each.created_at, now)
        yield Orphan(
            id=holding_id(each),
            kind=OrphanKind(each.kind.value),
            name=each.path,
            instance=each.instance,
            uid=each.uid,
            created_at=each.created_at,
            running=each.uid in alive,
            unsaved=seen.unsaved.get(each.uid) if each.kind in _ON_DISK_WORK else None,
            origin=Origin.DELETED if each.uid in declared.deleted else origin,
            safe=obstacle is None,
            obstacle=obstacle,
            message=message,
        )


def _goes_by_name(each: Holding) -> bool:
    """Tell whether an instance that has the name may have it: nothing but the controller's own files is in it."""
    return not each.uid or (each.kind is HoldingKind.FOLDER and each.ref is None)


def _obstacle_on_disk(each: Holding, seen: Seen, alive: frozenset[str], *, ours: bool) -> tuple[Obstacle | None, str]:
    if each.uid and each.uid in alive:
        return Obstacle.RUNNING, "its instance is still running: stop that first, or wait until it is stopped"
    if seen.blind:
        names = ", ".join(sorted(seen.blind))
        return Obstacle.NOT_LOOKED_AT, f"whether something is running in it is not known, because {names} is silent"
    if not ours:
        message = "only the lock in its repository names it, and that may be another installation's: look who uses it"
        return Obstacle.NOT_SURELY_OURS, each.detail or message
    if each.ref is None and each.kind is HoldingKind.REMAINS:
        return Obstacle.NOT_SURELY_OURS, each.detail
    if each.ref is None and each.kind is not HoldingKind.FOLDER:
        return Obstacle.CANNOT_BE_SAVED, each.detail or "too little is known of it to save the work in it"
    return None, ""


def _alive(seen: Seen) -> frozenset[str]:
    """Return the uids of which a workload is running."""
    return frozenset(
        each.uid
        for all_of in seen.belongings.values()
        for each in all_of
        if each.uid and each.running and each.kind is BelongingKind.WORKLOAD
    )
