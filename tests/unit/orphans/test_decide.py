"""What is an orphan, and which of them may go: one table for what runtimes have, one for what is on disk."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from controller.orphans.decide import Declared, Seen, belonging_id, find_orphans
from controller.resources.orphan import Obstacle, Origin, OrphanKind
from controller.runtime.protocol import LABEL_ATTEMPT, Belonging, BelongingKind
from controller.workspace.inventory import Holding, HoldingKind, Inventory
from controller.workspace.types import WorkspaceRef

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OLD = NOW - timedelta(hours=2)
YOUNG = NOW - timedelta(minutes=59)
ALIVE, DEAD, STRANGE = "alive-uid", "dead-uid", "strange-uid"
DECLARED = Declared({ALIVE: 3}, frozenset({"web"}), frozenset({DEAD}), frozenset({"cc-orchestrator"}))
REF = WorkspaceRef("web", STRANGE, "/r", "web", None, "/r.worktrees/web", "/s/instances/web/git", 1, (1, 1))


def thing(
    kind: BelongingKind = BelongingKind.WORKLOAD,
    uid: str = STRANGE,
    *,
    name: str = "cco-web-1",
    created_at: datetime | None = OLD,
    running: bool = False,
    attempt: str = "1",
) -> Belonging:
    labels = {LABEL_ATTEMPT: attempt}
    return Belonging(kind, f"id-of-{name}", name, "web" if uid else "", uid, "ours", created_at, running, labels)


def on_disk(
    kind: HoldingKind = HoldingKind.WORKTREE,
    uid: str = STRANGE,
    *,
    instance: str = "web",
    ref: WorkspaceRef | None = REF,
    created_at: datetime | None = OLD,
    ours: bool = True,
) -> Holding:
    return Holding(kind, f"/{kind}/{instance}", instance, uid, ref, created_at, ours)


def seen(*belongings: Belonging, holdings: tuple[Holding, ...] = (), blind: frozenset[str] = frozenset()) -> Seen:
    return Seen({"docker": belongings}, Inventory(holdings), blind)


HOME, NETWORK = BelongingKind.HOME, BelongingKind.NETWORK


@pytest.mark.parametrize(
    ("belonging", "origin", "obstacle"),
    [
        (thing(uid=ALIVE, attempt="3"), None, None),
        (thing(uid=ALIVE, attempt="4"), None, None),
        (thing(uid=ALIVE, attempt="2"), Origin.OLD_ATTEMPT, None),
        (thing(uid=ALIVE, attempt="2", running=True), None, None),
        (thing(uid=ALIVE, attempt="two"), None, None),
        (thing(uid=ALIVE, attempt="2", created_at=YOUNG), Origin.OLD_ATTEMPT, Obstacle.TOO_YOUNG),
        (thing(HOME, ALIVE), None, None),
        (thing(uid=DEAD), Origin.DELETED, None),
        (thing(uid=DEAD, running=True), Origin.DELETED, Obstacle.RUNNING),
        (thing(HOME, DEAD), Origin.DELETED, None),
        (thing(uid=STRANGE), Origin.UNKNOWN, None),
        (thing(uid=STRANGE, created_at=YOUNG), Origin.UNKNOWN, Obstacle.TOO_YOUNG),
        (thing(uid=STRANGE, created_at=None), Origin.UNKNOWN, None),
        (thing(HOME, STRANGE), Origin.UNKNOWN, None),
        (thing(HOME, STRANGE, running=True), Origin.UNKNOWN, Obstacle.RUNNING),
        (thing(uid=""), Origin.UNNAMED, Obstacle.NOT_SURELY_OURS),
        (thing(uid="", running=True), Origin.UNNAMED, Obstacle.RUNNING),
        (thing(NETWORK, "", name="cc-orchestrator"), None, None),
        (thing(NETWORK, "", name="an-earlier-name"), Origin.UNUSED, None),
        (thing(NETWORK, "", name="an-earlier-name", running=True), Origin.UNUSED, Obstacle.RUNNING),
        (thing(NETWORK, "", name="an-earlier-name", created_at=YOUNG), Origin.UNUSED, Obstacle.TOO_YOUNG),
    ],
)
def test_what_a_runtime_has(belonging: Belonging, origin: Origin | None, obstacle: Obstacle | None) -> None:
    found = find_orphans(DECLARED, seen(belonging), NOW)
    if origin is None:
        assert found == ()
        return
    (orphan,) = found
    assert (orphan.origin, orphan.obstacle, orphan.safe) == (origin, obstacle, obstacle is None)
    assert bool(orphan.message) == (obstacle is not None)
    assert (orphan.id, orphan.runtime) == (belonging_id("docker", belonging), "docker")


FOLDER, REMAINS, GIT = HoldingKind.FOLDER, HoldingKind.REMAINS, HoldingKind.GIT_DIRECTORY


@pytest.mark.parametrize(
    ("holding", "origin", "obstacle"),
    [
        (on_disk(uid=ALIVE), None, None),
        (on_disk(uid=DEAD), Origin.DELETED, None),
        (on_disk(uid=STRANGE), Origin.UNKNOWN, None),
        (on_disk(GIT, STRANGE), Origin.UNKNOWN, None),
        (on_disk(uid=STRANGE, created_at=YOUNG), Origin.UNKNOWN, Obstacle.TOO_YOUNG),
        (on_disk(uid=STRANGE, ours=False), Origin.UNKNOWN, Obstacle.NOT_SURELY_OURS),
        (on_disk(uid=DEAD, ours=False), Origin.DELETED, None),
        (on_disk(uid=STRANGE, ref=None), Origin.UNKNOWN, Obstacle.CANNOT_BE_SAVED),
        (on_disk(GIT, "", ref=None), None, None),
        (on_disk(GIT, "", ref=None, instance="gone"), Origin.UNNAMED, Obstacle.CANNOT_BE_SAVED),
        (on_disk(FOLDER, "", ref=None), None, None),
        (on_disk(FOLDER, STRANGE, ref=None), None, None),
        (on_disk(FOLDER, STRANGE, ref=None, instance="gone"), Origin.UNKNOWN, None),
        (on_disk(FOLDER, STRANGE), Origin.UNKNOWN, None),
        (on_disk(REMAINS, STRANGE), Origin.UNKNOWN, None),
        (on_disk(REMAINS, "", ref=None, ours=False, instance="gone"), Origin.UNNAMED, Obstacle.NOT_SURELY_OURS),
    ],
)
def test_what_is_on_disk(holding: Holding, origin: Origin | None, obstacle: Obstacle | None) -> None:
    found = find_orphans(DECLARED, seen(holdings=(holding,)), NOW)
    if origin is None:
        assert found == ()
        return
    (orphan,) = found
    assert (orphan.origin, orphan.obstacle, orphan.safe) == (origin, obstacle, obstacle is None)
    assert orphan.runtime is None


def test_a_running_container_keeps_everything_of_its_instance() -> None:
    world = seen(thing(running=True), thing(HOME, name="home"), holdings=(on_disk(), on_disk(GIT)))
    found = find_orphans(DECLARED, world, NOW)
    assert {each.kind for each in found} == {
        OrphanKind.WORKLOAD,
        OrphanKind.HOME,
        OrphanKind.WORKTREE,
        OrphanKind.GIT_DIRECTORY,
    }
    assert {each.obstacle for each in found} == {Obstacle.RUNNING}


def test_a_silent_runtime_keeps_what_may_be_used_there() -> None:
    (orphan,) = find_orphans(DECLARED, seen(holdings=(on_disk(),), blind=frozenset({"docker"})), NOW)
    assert orphan.obstacle is Obstacle.NOT_LOOKED_AT
    assert "docker" in orphan.message


def test_a_container_of_ours_vouches_for_a_worktree_of_its_uid() -> None:
    lock_only = on_disk(ours=False)
    (_, orphan) = find_orphans(DECLARED, seen(thing(), holdings=(lock_only,)), NOW)
    assert orphan.kind is OrphanKind.WORKTREE
    assert orphan.safe


def test_an_empty_database_makes_everything_unknown_and_nothing_deleted() -> None:
    world = seen(thing(uid=ALIVE, attempt="3"), thing(HOME, DEAD, name="home"), holdings=(on_disk(uid=ALIVE),))
    found = find_orphans(Declared({}), world, NOW)
    assert {each.origin for each in found} == {Origin.UNKNOWN}


def test_an_id_is_of_one_thing_of_one_uid() -> None:
    one = thing()
    others = [dataclasses.replace(one, uid=DEAD), dataclasses.replace(one, id="x"), thing(HOME)]
    assert len({belonging_id("docker", each) for each in (one, *others)} | {belonging_id("process", one)}) == 5
