"""Looking, sweeping, and the timer, on the fake engine, git and disk, with the real store."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from controller.errors import NotFound, Unavailable
from controller.orphans.assembly import assemble
from controller.orphans.timer import GRACE_SECONDS, SECONDS, OrphanTimer
from controller.resources import Instance
from controller.resources.orphan import Obstacle, Origin, Orphan, OrphanKind, SweepResult
from controller.runtime.choice import Runtimes, only
from controller.runtime.protocol import WorkloadState
from controller.workspace.inventory import FailedLook
from support.fake_disk import FakeDisk
from support.fake_runtime import FakeRuntime
from support.fake_workspaces import FakeWorkspaces
from support.lost_rows import forget_instance
from support.world import START, World

LATER = 2 * 3600.0


class House:
    """A world with one instance, and the parts that keep house in it."""

    def __init__(self, directory: Path) -> None:
        self.world = World(directory)
        self.instance = self.world.ready()
        self.uid = self.instance.metadata.uid
        self.disk = FakeDisk(self.world.git, lambda: START)
        settings = self.world.settings.model_copy(update={"network": "cco"})
        runtimes = only(FakeRuntime(self.world.engine))
        self.parts = assemble(
            settings, self.world.store, runtimes, FakeWorkspaces(self.world.git), lambda: self.world.now, self.disk
        )
        self.seconds = 0.0
        self.timer = OrphanTimer(
            survey=self.parts.survey,
            sweeper=self.parts.sweeper,
            runtimes=runtimes,
            stop_grace=1.0,
            check=self.world.store.check_fence,
            monotonic=lambda: self.seconds,
        )

    def wait(self, seconds: float) -> None:
        """Let time pass, the timer doing its work."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += SECONDS
            self.world.tick(SECONDS)
            self.timer.beat()

    def lose_row(self) -> None:
        """Let the database be one that never knew the instance."""
        forget_instance(self.world.settings.database, self.uid)

    def crash(self) -> None:
        self.world.engine.crash(self.uid)

    def orphans(self) -> dict[OrphanKind, Orphan]:
        return {each.kind: each for each in self.parts.survey.look(deep=True).orphans}

    def sweep(self, *ids: str) -> list[tuple[SweepResult, str | None]]:
        wanted = ids or tuple(each.id for each in self.orphans().values() if each.safe)
        return [(each.result, each.reason) for each in self.parts.sweeper.sweep(wanted).items]

    @property
    def everything(self) -> tuple[int, int, int]:
        engine = self.world.engine
        return len(engine.containers), len(engine.homes), len(self.world.git.worktrees)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.world.close()


ALL = {OrphanKind.WORKLOAD, OrphanKind.HOME, OrphanKind.WORKTREE, OrphanKind.GIT_DIRECTORY}


def test_a_living_instance_leaves_no_orphans(house: House) -> None:
    house.world.tick(LATER)
    assert house.orphans() == {}


def test_a_lost_row_deletes_nothing_and_stops_after_an_hour(house: House) -> None:
    house.lose_row()
    house.world.tick(LATER)
    house.wait(GRACE_SECONDS)
    (container,) = house.world.engine.containers.values()
    assert container.seen.state is WorkloadState.RUNNING
    assert {each.obstacle for each in house.orphans().values()} == {Obstacle.RUNNING}
    house.wait(SECONDS)
    (container,) = house.world.engine.containers.values()
    assert container.seen.state is WorkloadState.EXITED
    assert house.world.event_reasons()[-1] == "OrphanStopped"
    house.wait(30 * 24 * 3600.0 / 100)
    assert house.everything == (1, 1, 1)
    assert house.world.event_reasons().count("OrphanStopped") == 1
    assert set(house.orphans()) == ALL


def test_a_row_that_comes_back_keeps_its_container_running(house: House) -> None:
    house.lose_row()
    house.wait(GRACE_SECONDS - SECONDS)
    house.parts.survey._instances = _Restored(house)  # noqa: SLF001  # as a rebuilt database
    house.wait(LATER)
    (container,) = house.world.engine.containers.values()
    assert container.seen.state is WorkloadState.RUNNING


class _Restored:
    """Rows as they were before the database was lost."""

    def __init__(self, house: House, *, listed: bool = True) -> None:
        self._house = house
        self._listed = listed

    def list(self) -> list[Instance]:
        return [self._house.instance] if self._listed else []

    def get_by_uid(self, uid: str) -> Instance:
        assert uid == self._house.uid
        return self._house.instance

    def buried(self, uids: Collection[str]) -> frozenset[str]:
        del uids
        return frozenset()


def test_a_row_that_comes_back_during_a_sweep_keeps_everything(house: House) -> None:
    house.lose_row()
    house.crash()
    house.world.tick(LATER)
    house.parts.survey._instances = _Restored(house, listed=False)  # noqa: SLF001  # listed a moment too late
    assert house.sweep() == [(SweepResult.GONE, None)] * 4
    assert house.everything == (1, 1, 1)


def test_a_person_gets_everything_removed_once_the_work_is_saved(house: House) -> None:
    house.lose_row()
    house.crash()
    house.world.tick(LATER)
    (worktree,) = house.world.git.worktrees.values()
    worktree.commits.append("c1")
    worktree.dirty = "half a thought"
    found = house.orphans()
    assert set(found) == ALL
    assert found[OrphanKind.WORKTREE].unsaved is True
    assert found[OrphanKind.HOME].unsaved is None
    assert house.sweep() == [(SweepResult.REMOVED, None)] * 4
    assert house.everything == (0, 0, 0)
    assert house.world.git.snapshots == ["half a thought"]
    assert "c1" in house.world.git.branches["web"]
    assert house.world.event_reasons().count("OrphanRemoved") == 4
    assert house.disk.tidied == ["web"]
    assert house.orphans() == {}


def test_work_that_cannot_be_saved_stays_and_says_so(house: House) -> None:
    house.lose_row()
    house.crash()
    house.world.tick(LATER)
    next(iter(house.world.git.worktrees.values())).dirty = "half a thought"
    house.world.git.fail_next("snapshot", Unavailable("TooMuch", "the disk is full"))
    results = house.sweep()
    assert results.count((SweepResult.KEPT, "TooMuch")) == 2
    assert results.count((SweepResult.KEPT, "WorkKept")) == 1, "the conversation stays with the work"
    assert results.count((SweepResult.REMOVED, None)) == 1
    assert house.everything == (0, 1, 1)
    assert house.sweep() == [(SweepResult.REMOVED, None)] * 3


def test_parts_that_were_not_seen_are_not_taken_along(house: House) -> None:
    house.lose_row()
    house.crash()
    house.world.tick(LATER)
    worktree = house.orphans()[OrphanKind.WORKTREE]
    assert house.sweep(worktree.id) == [(SweepResult.KEPT, "PartsNotSeen")]
    assert house.everything == (1, 1, 1)


def test_what_is_no_orphan_any_more_is_not_touched(house: House) -> None:
    house.lose_row()
    house.crash()
    house.world.tick(LATER)
    ids = [each.id for each in house.orphans().values()]
    house.world.engine.remove_by_hand(house.uid)
    results = house.sweep(*ids, "0" * 20)
    assert results.count((SweepResult.GONE, None)) == 2
    assert house.everything == (0, 0, 0)


def test_a_running_one_and_a_young_one_are_kept(house: House) -> None:
    house.lose_row()
    ids = [each.id for each in house.orphans().values()]
    assert {reason for _, reason in house.sweep(*ids)} == {"Running"}
    house.crash()
    assert {reason for _, reason in house.sweep(*ids)} == {"TooYoung"}
    assert house.everything == (1, 1, 1)


def test_what_a_deletion_left_goes_by_itself_but_no_worktree(house: House) -> None:
    house.world.store.instances.request_deletion("web")
    house.world.store.instances.purge(house.uid)  # as a deletion would that removed nothing
    house.crash()
    house.wait(GRACE_SECONDS)
    assert house.everything == (1, 1, 1)
    assert {each.origin for each in house.orphans().values()} == {Origin.DELETED}
    house.wait(SECONDS)
    assert house.everything == (0, 0, 1)
    assert house.world.event_reasons()[-2:] == ["OrphanRemoved", "OrphanRemoved"]


def test_an_unused_network_goes_by_itself(house: House) -> None:
    FakeRuntime(house.world.engine, network="an-earlier-name").prepare()
    house.wait(GRACE_SECONDS + SECONDS)
    assert house.world.engine.networks == {"cco"}


def test_a_silent_engine_is_said_and_nothing_is_concluded(house: House) -> None:
    house.lose_row()
    house.crash()
    house.world.tick(LATER)
    house.world.engine.go_away()
    found = house.parts.survey.look()
    assert [(each.part, each.reason) for each in found.skipped] == [("runtime docker", "RuntimeUnavailable")]
    assert {each.obstacle for each in found.orphans} == {Obstacle.NOT_LOOKED_AT}
    assert house.sweep() == []
    house.wait(LATER)
    house.world.engine.come_back()
    assert house.everything == (1, 1, 1)


def test_a_silent_engine_begins_the_hour_anew(house: House) -> None:
    house.lose_row()
    house.wait(GRACE_SECONDS)
    house.world.engine.go_away()
    house.wait(SECONDS)
    house.world.engine.come_back()
    house.wait(GRACE_SECONDS)
    (container,) = house.world.engine.containers.values()
    assert container.seen.state is WorkloadState.RUNNING


def test_a_place_that_cannot_be_read_is_said(house: House) -> None:
    house.disk.failures.append(FailedLook("repository /shop", "RepositoryUnreadable", "no answer"))
    assert [each.part for each in house.parts.survey.look().skipped] == ["repository /shop"]


def test_a_wall_clock_that_jumps_shortens_no_grace(house: House) -> None:
    house.lose_row()
    house.timer.beat()
    house.world.now += timedelta(days=400)
    house.timer.beat()
    (container,) = house.world.engine.containers.values()
    assert container.seen.state is WorkloadState.RUNNING


def test_the_row_is_really_gone(house: House) -> None:
    house.lose_row()
    with pytest.raises(NotFound):
        house.world.get()


def test_a_look_makes_no_runtime_one_that_is_used(house: House) -> None:
    other = FakeRuntime(house.world.engine, installation="test", prefix="other")
    runtimes = Runtimes("docker", {"docker": lambda: FakeRuntime(house.world.engine), "process": lambda: other})
    runtimes.named("docker")
    workspaces = FakeWorkspaces(house.world.git)
    parts = assemble(house.world.settings, house.world.store, runtimes, workspaces, lambda: house.world.now, house.disk)
    assert parts.survey.look().skipped == ()
    assert runtimes.in_use("process", 0.0) is None


def test_an_unused_runtime_that_is_silent_holds_nothing_back(house: House) -> None:
    house.lose_row()
    house.crash()
    house.world.tick(LATER)
    silent = FakeRuntime()
    silent.engine.go_away()
    runtimes = Runtimes("docker", {"docker": lambda: FakeRuntime(house.world.engine), "process": lambda: silent})
    settings = house.world.settings.model_copy(update={"network": "cco"})
    workspaces = FakeWorkspaces(house.world.git)
    parts = assemble(settings, house.world.store, runtimes, workspaces, lambda: house.world.now, house.disk)
    found = parts.survey.look()
    assert [each.part for each in found.skipped] == ["runtime process"]
    assert all(each.safe for each in found.orphans)
