"""Damaged git directories: what is at home goes, what is not is kept, told, counted, and given up by name alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.errors import Terminal
from controller.orphans.assembly import assemble
from controller.resources.orphan import OrphanKind, SweepResult
from controller.runtime.choice import only
from controller.workspace import GitWorkspaces
from controller.workspace.inventory import HoldingKind, StateInventory
from controller.workspace.types import Presence, Unsaved, WorkspaceRef, Workspaces
from support.fake_runtime import FakeRuntime
from support.git_world import GitWorld
from support.kept_work import refused, untouched
from support.lost_rows import forget_instance
from support.world import World


def folder(ref: WorkspaceRef) -> Path:
    return Path(ref.private).parent


def aside(ref: WorkspaceRef) -> list[Path]:
    """Return everything that was set aside, whatever it is called."""
    return sorted(folder(ref).glob("git.*"))


def object_of(directory: str | Path, name: str) -> Path:
    return Path(directory) / "objects" / name[:2] / name[2:]


def lose(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    """Leave what a power cut may leave of a file."""
    path.chmod(0o644)
    path.write_bytes(b"")


def damage(world: GitWorld, ref: WorkspaceRef, how: Callable[[Path], None] = lose) -> str:
    """Let the agent commit three times, damage an object of the first, and then HEAD; returns the last commit."""
    first = world.agent_commits(ref, "first.txt")
    world.agent_commits(ref, "second.txt")
    last = world.agent_commits(ref, "third.txt")
    how(object_of(ref.private, world.agent(ref, "rev-parse", f"{first}:first.txt")))
    refused(lambda: world.collect(ref), "CommitsDamaged")
    how(Path(ref.private) / "HEAD")
    assert world.workspaces.inspect(ref).presence is Presence.BROKEN
    return last


@pytest.mark.parametrize("how", [lose, empty])
@pytest.mark.parametrize("keep", [False, True])
def test_commits_that_could_not_be_rescued_keep_the_workspace(
    world: GitWorld, how: Callable[[Path], None], *, keep: bool
) -> None:
    ref = world.made()
    start = world.head(ref)
    commit = damage(world, ref, how)
    world.create(ref)
    assert world.workspaces.inspect(ref).presence is Presence.READY
    assert world.head(ref) == start
    (kept,) = aside(ref)
    assert kept.name.startswith("git.unsaved-")
    assert object_of(kept, commit).exists()
    world.agent_commits(ref, "later.txt")
    world.agent_writes(ref, "draft.txt", "half")
    with untouched(kept):
        assert world.unsaved(ref) is Unsaved.UNSAVED
        world.collect(ref)
        error = refused(
            lambda: world.workspaces.snapshot(ref, message="x"), "CommitsDamaged", str(kept), "move it away"
        )
        assert isinstance(error, Terminal)
        assert "--discard-work" in error.message
        (snapshot,) = world.refs("refs/cco/snapshots/").values()
        assert "draft.txt" in world.files_of(snapshot), "what can be saved is"
        refused(lambda: world.workspaces.remove(ref, keep_worktree=keep), "CommitsDamaged", str(kept))
        assert world.unsaved(ref) is Unsaved.UNSAVED
    kept.rename(world.base / "moved")
    assert world.unsaved(ref) is Unsaved.SNAPSHOTTED
    world.workspaces.remove(ref, keep_worktree=keep)
    assert list(folder(ref).iterdir()) == []
    assert object_of(world.base / "moved", commit).exists()


def test_what_is_given_up_by_name_goes(world: GitWorld) -> None:
    ref = world.made()
    damage(world, ref)
    world.create(ref)
    world.workspaces.remove(ref, or_lose=True)
    assert list(folder(ref).iterdir()) == []
    assert world.workspaces.inspect(ref).presence is Presence.ABSENT


def test_what_was_rescued_in_full_is_not_kept_however_often(world: GitWorld) -> None:
    ref = world.made()
    for _ in range(3):
        commit = world.agent_commits(ref)
        (Path(ref.private) / "HEAD").unlink()
        world.create(ref)
        assert aside(ref) == []
        assert world.head(ref) == commit == world.agent(ref, "rev-parse", "HEAD")
    assert world.unsaved(ref) is Unsaved.NONE


def test_one_that_never_held_anything_is_not_kept(world: GitWorld) -> None:
    ref = world.made()
    (Path(ref.private) / "HEAD").unlink()
    world.create(ref)
    assert aside(ref) == []


@pytest.mark.parametrize("log", ["gone", "empty"])
def test_commits_that_nothing_names_any_more_are_kept(world: GitWorld, log: str) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    shutil.rmtree(Path(ref.private) / "refs")
    if log == "gone":
        shutil.rmtree(Path(ref.private) / "logs")
    else:
        for path in (Path(ref.private) / "logs").rglob("*"):
            if path.is_file():
                empty(path)
    world.create(ref)
    (kept,) = aside(ref)
    assert object_of(kept, commit).exists()
    refused(lambda: world.workspaces.remove(ref), "CommitsDamaged", str(kept))


def test_repositories_of_submodules_are_kept(world: GitWorld) -> None:
    ref = world.made()
    world.agent_commits(ref)
    inside = Path(ref.private) / "modules" / "library"
    world.write(inside / "HEAD", "ref: refs/heads/main\n", world.agent_owner)
    (Path(ref.private) / "HEAD").unlink()
    world.create(ref)
    (kept,) = aside(ref)
    assert (kept / "modules" / "library" / "HEAD").exists()


def test_a_second_one_is_not_set_aside_and_stays_in_its_place(world: GitWorld) -> None:
    ref = world.made()
    damage(world, ref)
    world.create(ref)
    (kept,) = aside(ref)
    commit = damage(world, ref)
    with untouched(kept):
        refused(lambda: world.workspaces.create(ref), "CommitsDamaged", str(kept), f"{ref.private} is damaged")
    assert aside(ref) == [kept]
    assert object_of(ref.private, commit).exists()
    kept.rename(world.base / "moved")
    world.create(ref)
    assert len(aside(ref)) == 1


def test_a_removal_of_a_rescued_one_that_was_cut_off_is_finished(world: GitWorld) -> None:
    ref = world.made()
    (folder(ref) / "git.gone-1234abcd" / "objects").mkdir(parents=True)
    assert HoldingKind.SET_ASIDE in {
        each.kind for each in StateInventory(world.state_dir).take([str(world.repository)]).holdings
    }
    assert world.unsaved(ref) is Unsaved.NONE
    Path(ref.private).rename(world.base / "lost")
    world.create(ref)
    assert aside(ref) == []


def test_what_an_earlier_version_set_aside_is_kept(world: GitWorld) -> None:
    ref = world.made()
    (folder(ref) / "git.damaged-1234abcd").mkdir()
    refused(lambda: world.workspaces.remove(ref), "CommitsDamaged", "git.damaged-1234abcd")
    world.workspaces.remove(ref, or_lose=True)
    assert list(folder(ref).iterdir()) == []


class RealGit(World):
    """The loop over real git; only engine and agents are fakes."""

    def __init__(self, git: GitWorld) -> None:
        super().__init__(git.state_dir)
        self.real = git
        self.register(path=str(git.repository))

    def workspaces(self) -> Workspaces:
        return GitWorkspaces(self.settings.state_dir)

    def made(self) -> WorkspaceRef:
        """Declare an instance and bring it to Ready."""
        self.declare()
        self.settle()
        assert self.readiness()[0] == "True", self.condition("Ready")
        _, _, wanted = self.reconciler().observe(self.get())
        assert wanted is not None
        for each in (self.real.state_dir, self.real.state_dir / "instances", folder(wanted.ref)):
            each.chmod(0o711)
        return wanted.ref


@pytest.mark.parametrize("way_out", ["moved away", "given up"])
def test_a_deletion_ends_with_the_reason_and_goes_on_when_a_person_decided(world: GitWorld, way_out: str) -> None:
    loop = RealGit(world)
    ref = loop.made()
    damage(world, ref)
    loop.engine.crash(ref.uid, 137)
    loop.settle()
    (kept,) = aside(ref)
    world.agent_writes(ref, "draft.txt", "half")
    loop.store.instances.request_deletion("web")
    loop.settle()
    ready = loop.condition("Ready")
    assert (str(ready.status), ready.reason) == ("False", "CommitsDamaged")
    assert str(kept) in ready.message
    assert "cco delete instance web --discard-work" in ready.message
    for _ in range(3):
        loop.tick(60.0)
        with untouched(kept, Path(ref.worktree)):
            loop.settle(passes=2)
    if way_out == "moved away":
        kept.rename(world.base / "moved")
    else:
        loop.store.instances.request_deletion("web", discard_work=True)
    loop.settle(until=loop.gone)
    assert ("WorkDiscarded" in loop.event_reasons()) == (way_out == "given up")
    assert not Path(ref.worktree).exists()
    assert not folder(ref).exists()
    (snapshot,) = world.refs("refs/cco/snapshots/").values()
    assert "draft.txt" in world.files_of(snapshot)
    loop.close()


def test_a_sweep_of_orphans_takes_none_along(world: GitWorld) -> None:
    loop = RealGit(world)
    ref = loop.made()
    damage(world, ref)
    world.create(ref)
    (kept,) = aside(ref)
    loop.engine.crash(ref.uid, 137)
    forget_instance(loop.settings.database, ref.uid)
    runtimes, later = only(FakeRuntime(loop.engine)), datetime.now(UTC) + timedelta(hours=2)
    parts = assemble(loop.settings, loop.store, runtimes, loop.workspaces(), lambda: later)

    def sweep() -> dict[OrphanKind | None, tuple[SweepResult, str | None]]:
        found = parts.survey.look(deep=True).orphans
        assert all(each.unsaved for each in found if each.kind is OrphanKind.SET_ASIDE)
        items = parts.sweeper.sweep([each.id for each in found]).items
        return {each.kind: (each.result, each.reason) for each in items}

    on_disk = (OrphanKind.WORKTREE, OrphanKind.GIT_DIRECTORY, OrphanKind.QUARANTINE)
    with untouched(kept, Path(ref.worktree)):
        swept = sweep()
        assert {swept[each] for each in (*on_disk, OrphanKind.SET_ASIDE)} == {(SweepResult.KEPT, "CommitsDamaged")}
    kept.rename(world.base / "moved")
    swept = sweep()
    assert {swept[each] for each in on_disk} == {(SweepResult.REMOVED, None)}
    assert not Path(ref.worktree).exists()
    loop.close()
