"""A registration or a repository that went away under a workspace: what is there is saved, and found again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from controller.errors import Terminal
from controller.workspace.types import Presence, Unsaved, WorkspaceRef
from support.git_world import GitWorld
from support.kept_work import made_with_work, refused, untouched


def pruned(world: GitWorld, ref: WorkspaceRef) -> None:
    """Let git forget a worktree whose folder is out of sight for a moment."""
    away = world.base / "away"
    world.user("worktree", "unlock", ref.worktree)
    Path(ref.worktree).rename(away)
    world.user("worktree", "prune")
    away.rename(ref.worktree)
    assert world.user("worktree", "list").count("\n") == 0


def test_a_pruned_registration_saves_first(world: GitWorld) -> None:
    ref = made_with_work(world)
    pruned(world, ref)
    state = world.inspect(ref)
    assert (state.presence, state.unsaved) == (Presence.BROKEN, Unsaved.UNSAVED)
    with untouched(Path(ref.worktree)):
        refused(lambda: world.workspaces.remove(ref), "UnsavedWork")
    assert world.workspaces.snapshot(ref, message="x")
    world.workspaces.remove(ref)
    assert not Path(ref.worktree).exists()
    assert world.workspaces.inspect(ref).presence is Presence.ABSENT


def test_a_pruned_registration_is_made_again_around_the_work(any_world: GitWorld) -> None:
    world = any_world
    ref = made_with_work(world)
    pruned(world, ref)
    with untouched(Path(ref.worktree)):
        world.create(ref)
    assert world.workspaces.inspect(ref).presence is Presence.READY
    status = world.user("-c", f"safe.directory={ref.worktree}", "status", "--porcelain", cwd=ref.worktree)
    assert sorted(status.splitlines()) == [" M README.md", "?? new.txt"]
    assert "locked" in world.user("worktree", "list")
    assert world.agent_commits(ref) == world.collect(ref).head


def test_a_pruned_registration_is_made_again_by_the_next_one_too(world: GitWorld) -> None:
    """The first one was killed while it wrote the very first file of it aside."""
    ref = made_with_work(world)
    pruned(world, ref)
    admin = world.repository / ".git" / "worktrees" / "web"
    world.write(admin / ".gitdir.new", "half a li", world.owner)
    assert world.workspaces.inspect(ref).presence is Presence.BROKEN
    with untouched(Path(ref.worktree)):
        world.create(ref)
    assert world.workspaces.inspect(ref).presence is Presence.READY
    assert not (admin / ".gitdir.new").exists()


def test_a_folder_that_only_looks_like_a_pruned_one_is_foreign(world: GitWorld) -> None:
    ref = made_with_work(world)
    pruned(world, ref)
    world.user("worktree", "add", "-q", "-b", "theirs", str(world.base / "web"))
    assert (world.repository / ".git/worktrees/web").exists()
    with untouched(Path(ref.worktree)):
        refused(lambda: world.workspaces.remove(ref), "NotOurs")
        refused(lambda: world.workspaces.create(ref), "PathOccupied")


def test_a_repository_that_was_moved_away(world: GitWorld) -> None:
    ref = made_with_work(world)
    away = world.base / "elsewhere"
    world.repository.rename(away)
    acts: list[Callable[[], object]] = [
        lambda: world.workspaces.snapshot(ref, message="x"),
        lambda: world.workspaces.remove(ref),
        lambda: world.workspaces.remove(ref, keep_worktree=True),
        lambda: world.workspaces.collect(ref),
        lambda: world.workspaces.inspect(ref, deep=True),
    ]
    for act in acts:
        with untouched(Path(ref.worktree), Path(ref.private)):
            assert isinstance(refused(act, "RepositoryNotFound", str(world.repository)), Terminal)
    away.rename(world.repository)
    assert world.workspaces.snapshot(ref, message="x")
    world.workspaces.remove(ref)
