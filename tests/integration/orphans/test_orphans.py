"""Orphans on real Docker and real git: a database from an older day deletes nothing, and a sweep loses nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.orphans.assembly import assemble
from controller.orphans.timer import GRACE_SECONDS, SECONDS, OrphanTimer
from controller.resources.orphan import Obstacle, Origin, Orphan, OrphanKind, SweepResult
from controller.runtime.choice import only
from controller.runtime.docker import DockerRuntime
from controller.runtime.protocol import LABEL_INSTALLATION, LABEL_INSTANCE, LABEL_UID
from controller.settings import Settings
from controller.store import Store
from controller.workspace.types import WorkspaceRef
from support.api_world import instance_manifest, repository_manifest
from support.docker_world import IMAGE, LABEL, DockerWorld, docker_world
from support.git_world import OWNERS, GitWorld, git_world
from support.lost_rows import forget_instance

pytestmark = pytest.mark.docker

FIVE = {
    OrphanKind.WORKLOAD,
    OrphanKind.HOME,
    OrphanKind.NETWORK,
    OrphanKind.WORKTREE,
    OrphanKind.GIT_DIRECTORY,
}


class House:
    """An installation by its parts, with one instance that has a container, a HOME and a workspace.

    Attributes:
        ahead: how far its clock is ahead of the machine's, so that nothing is too young.
    """

    def __init__(self, docker: DockerWorld, git: GitWorld) -> None:
        self.docker, self.git = docker, git
        self.settings = Settings(state_dir=git.state_dir, network=docker.network)
        self.store = Store.open(self.settings.database)
        self.ahead = timedelta(hours=2)
        runtimes = only(docker.runtime)
        self.parts = assemble(self.settings, self.store, runtimes, git.workspaces, self.now)
        self.seconds = 0.0
        self.timer = OrphanTimer(
            survey=self.parts.survey,
            sweeper=self.parts.sweeper,
            runtimes=runtimes,
            stop_grace=1.0,
            check=self.store.check_fence,
            monotonic=lambda: self.seconds,
        )
        self.store.repositories.create(repository_manifest(path=str(git.repository)))
        self.ref = self.make("web")

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def make(self, name: str) -> WorkspaceRef:
        """Declare an instance and make all of it, with work of every sort."""
        made = self.store.instances.create(instance_manifest(name))
        ref = self.git.made(name, uid=made.metadata.uid)
        spec = replace(self.docker.spec(name), uid=made.metadata.uid)
        self.docker.runtime.create(spec)
        self.docker.runtime.start(spec.uid, 1)
        return ref

    def lose_row(self, ref: WorkspaceRef | None = None) -> None:
        forget_instance(self.settings.database, (ref or self.ref).uid)

    def crash(self) -> None:
        self.docker.runtime.stop(self.ref.uid, grace=1)

    def wait(self, seconds: float) -> None:
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += SECONDS
            self.timer.beat()

    def orphans(self) -> list[Orphan]:
        return list(self.parts.survey.look(deep=True).orphans)

    def by_kind(self) -> dict[OrphanKind, Orphan]:
        return {each.kind: each for each in self.orphans()}

    def sweep(self) -> dict[OrphanKind, tuple[SweepResult, str | None]]:
        ids = [each.id for each in self.orphans()]
        items = self.parts.sweeper.sweep(ids).items if ids else ()
        return {each.kind: (each.result, each.reason) for each in items if each.kind is not None}

    def running(self) -> bool:
        return any(each.running for each in self.docker.runtime.belongings() if each.uid == self.ref.uid)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with git_world(OWNERS[-1]) as git:
        for docker in docker_world(tmp_path):
            made = House(docker, git)
            yield made
            made.store.close()


def earlier_network(docker: DockerWorld) -> str:
    """Make the network of an earlier setting."""
    name = f"{docker.network}-old"
    runtime = DockerRuntime(installation=f"ours-{docker.run}", prefix=docker.prefix, network=name, client=docker.admin)
    runtime.prepare()
    return name


def test_a_database_from_an_older_day_deletes_nothing_and_a_sweep_loses_nothing(house: House) -> None:
    git, ref = house.git, house.ref
    network = earlier_network(house.docker)
    assert {each.kind for each in house.orphans()} == {OrphanKind.NETWORK}
    commit = git.agent_commits(ref, "feature.txt", "the feature\n")
    git.agent_writes(ref, "draft.txt", "half a thought\n")
    house.lose_row()

    # By itself: it runs on for an hour, is stopped, and all of it stays.
    house.wait(GRACE_SECONDS)
    assert house.running()
    house.wait(SECONDS)
    assert not house.running()
    house.wait(24 * 3600.0 / 10)
    found = house.by_kind()
    assert set(found) == FIVE - {OrphanKind.NETWORK}  # nobody used that one: it went by itself
    assert house.docker.admin.networks(names=[network]) == []
    earlier_network(house.docker)

    # A look: all five kinds, and what they hold.
    found = house.by_kind()
    assert set(found) == FIVE
    assert all(each.safe for each in found.values()), found
    assert {each.origin for each in found.values()} == {Origin.UNKNOWN, Origin.UNUSED}
    assert found[OrphanKind.WORKTREE].unsaved is True
    assert found[OrphanKind.WORKTREE].name == os.path.realpath(ref.worktree)
    assert Path(ref.worktree, "draft.txt").exists()
    assert git.refs("refs/cco/snapshots/") == {}

    # A person's word: all five go, and the work is where it can be had back.
    assert house.sweep() == dict.fromkeys(FIVE, (SweepResult.REMOVED, None))
    assert house.orphans() == []
    assert not Path(ref.worktree).exists()
    assert not Path(ref.private).parent.exists()
    assert ref.worktree not in git.user("worktree", "list")
    assert git.head(ref) == commit
    (snapshot,) = git.refs("refs/cco/snapshots/web/").values()
    assert git.user("show", f"{snapshot}:draft.txt") == "half a thought"
    assert git.user("show", f"{snapshot}:feature.txt") == "the feature"
    git.user("worktree", "add", "-q", "--detach", str(git.base / "again"), snapshot)
    assert (git.base / "again" / "draft.txt").read_text() == "half a thought\n"
    reasons = [event.reason for event in house.store.events.list(name="web")]
    assert reasons == ["OrphanStopped", *["OrphanRemoved"] * 4]


def test_a_running_one_is_left_with_all_that_it_uses(house: House) -> None:
    house.lose_row()
    found = house.by_kind()
    assert set(found) == FIVE - {OrphanKind.NETWORK}
    assert {each.obstacle for each in found.values()} == {Obstacle.RUNNING}
    assert {result for result, _ in house.sweep().values()} == {SweepResult.KEPT}
    assert house.running()
    assert Path(house.ref.private).is_dir()


def test_what_is_young_is_left(house: House) -> None:
    house.ahead = timedelta()
    house.lose_row()
    house.crash()
    assert {each.obstacle for each in house.orphans()} == {Obstacle.TOO_YOUNG}
    assert {reason for _, reason in house.sweep().values()} == {"TooYoung"}


def test_what_is_not_surely_ours_is_byte_identical_before_and_after(house: House) -> None:
    admin, run = house.docker.admin, house.docker.run
    name, ours = house.docker.prefix, f"ours-{run}"
    others = {LABEL: run, LABEL_INSTALLATION: f"others-{run}", LABEL_UID: "u", LABEL_INSTANCE: "web"}
    nameless = {LABEL: run, LABEL_INSTALLATION: ours}
    made = [
        admin.create_container(IMAGE, name=f"{name}-{number}", labels=labels)["Id"]
        for number, labels in enumerate((others, nameless))
    ]
    volumes = [f"{name}-web-others-home", f"{name}-nameless"]
    for volume, labels in zip(volumes, (others, nameless), strict=True):
        admin.create_volume(volume, labels=labels)
    git = house.git
    git.user("worktree", "add", "-q", "--lock", "--reason", "cc-orchestrator other 11111111-2222", "../other")
    git.user("worktree", "add", "-q", "../mine")
    (git.base / "mine" / "thoughts.txt").write_text("mine\n")
    house.lose_row()
    house.crash()

    def state() -> object:
        containers = [admin.inspect_container(each) for each in made]
        folders = [sorted((git.base / each).iterdir()) for each in ("other", "mine")]
        return containers, [admin.inspect_volume(each) for each in volumes], folders, git.refs("refs/heads/")

    before = state()
    house.wait(3 * GRACE_SECONDS)
    house.sweep()
    assert state() == before
    left = {each.name: each.obstacle for each in house.orphans()}
    assert left == {
        f"{name}-1": Obstacle.NOT_SURELY_OURS,
        f"{name}-nameless": Obstacle.NOT_SURELY_OURS,
        str(git.base / "other"): Obstacle.NOT_SURELY_OURS,
    }
    assert "other" in git.user("worktree", "list", "--porcelain")


def test_a_state_directory_that_is_gone_costs_no_work(house: House) -> None:
    git, ref = house.git, house.ref
    git.agent_writes(ref, "draft.txt", "half a thought\n")
    house.lose_row()
    house.crash()
    shutil.rmtree(Path(ref.private).parent)
    found = house.by_kind()
    assert found[OrphanKind.WORKTREE].safe, found  # our own container vouches for its uid
    assert found[OrphanKind.WORKTREE].unsaved is True
    results = house.sweep()
    assert results[OrphanKind.WORKTREE] == (SweepResult.REMOVED, None)
    (snapshot,) = git.refs("refs/cco/snapshots/web/").values()
    assert git.user("show", f"{snapshot}:draft.txt") == "half a thought"
    assert not Path(ref.worktree).exists()
    assert list((git.state_dir / "instances").iterdir()) == []


def test_a_namesake_keeps_what_is_its_own(house: House) -> None:
    git, old = house.git, house.ref
    git.agent_writes(old, "draft.txt", "half a thought\n")
    house.lose_row()
    house.crash()
    namesake = house.store.instances.create(instance_manifest("web")).metadata.uid
    run = git.state_dir / "instances" / "web" / "run"
    run.mkdir()
    (run / "instance.json").write_text(f'{{"uid": "{namesake}"}}')
    assert house.sweep()[OrphanKind.WORKTREE] == (SweepResult.REMOVED, None)
    assert (run / "instance.json").exists()
    git.create(git.ref("web", uid=namesake))
    assert house.orphans() == []


def test_commits_that_are_damaged_keep_their_workspace(house: House) -> None:
    git, ref = house.git, house.ref
    commit = git.agent_commits(ref)
    (Path(ref.private) / "objects" / commit[:2] / commit[2:]).unlink()
    house.lose_row()
    house.crash()
    results = house.sweep()
    assert results[OrphanKind.WORKTREE] == (SweepResult.KEPT, "CommitsDamaged")
    assert Path(ref.worktree).is_dir()
    assert Path(ref.private).is_dir()


def test_a_repository_that_moved_away_keeps_its_work_and_is_said(house: House) -> None:
    git, ref = house.git, house.ref
    house.lose_row()
    house.crash()
    git.repository.rename(git.base / "elsewhere")
    found = house.parts.survey.look(deep=True)
    assert [each.reason for each in found.skipped] == ["RepositoryNotFound"]
    results = house.sweep()
    assert results[OrphanKind.GIT_DIRECTORY] == (SweepResult.KEPT, "RepositoryNotFound")
    assert Path(ref.private).is_dir()
    (git.base / "elsewhere").rename(git.repository)
    assert house.sweep()[OrphanKind.GIT_DIRECTORY] == (SweepResult.REMOVED, None)


def test_a_removal_that_was_cut_off_is_finished(house: House) -> None:
    ref = house.ref
    house.lose_row()
    house.crash()
    remains = Path(f"{ref.worktree}.removed-{ref.uid[:8]}")
    stranger = Path(ref.worktree).with_name("api.removed-12345678")
    memory = Path(ref.private).with_name("workspace.json")
    memory.write_text(memory.read_text().replace('"removing": false', '"removing": true'))
    Path(ref.worktree).rename(remains)
    stranger.mkdir()
    found = {each.name: each for each in house.orphans() if each.kind is OrphanKind.REMAINS}
    assert found[str(remains)].safe
    assert found[str(stranger)].obstacle is Obstacle.NOT_SURELY_OURS
    house.sweep()
    assert not remains.exists()
    assert stranger.is_dir()


def test_a_living_instance_leaves_nothing_to_sweep(house: House) -> None:
    git = house.git
    git.agent_commits(house.ref)
    git.collect(house.ref)
    (Path(house.ref.private).parent / "git.damaged-1234abcd").mkdir()
    assert house.orphans() == []
    house.wait(3 * GRACE_SECONDS)
    assert house.running()
