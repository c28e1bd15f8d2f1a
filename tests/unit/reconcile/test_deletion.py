"""The end of an instance's life: what is saved, what goes, and what is left when something is in the way."""

from __future__ import annotations

import pytest

from controller.errors import Retryable, Terminal
from support.world import REPOSITORY_PATH, World

WORKTREE = f"{REPOSITORY_PATH}.worktrees/web"


def test_delete_saves_work_and_leaves_nothing_else(world: World) -> None:
    web = world.ready()
    world.git.worktrees[WORKTREE].commits.append("c1")
    world.git.worktrees[WORKTREE].dirty = "half a thought"
    world.store.instances.request_deletion("web")
    world.settle()
    assert world.gone()
    assert not world.engine.containers
    assert world.git.worktrees == {}
    assert world.git.snapshots == ["half a thought"]
    assert world.git.branches["web"] == ["c1"]
    assert world.engine.homes == {}
    assert world.agents.forgotten == [web.metadata.uid]
    assert not world.settings.instance_dir("web").exists()


def test_delete_keeps_the_worktree_where_the_policy_says_so(world: World) -> None:
    world.register()
    world.declare(worktree_policy="Retain")
    world.settle()
    world.store.instances.request_deletion("web")
    world.settle()
    assert world.gone()
    assert world.git.kept == [WORKTREE]


def test_work_done_while_stopping_is_saved_too(world: World) -> None:
    world.ready()
    world.store.instances.request_deletion("web")
    world.one_pass()
    world.git.worktrees[WORKTREE].dirty = "last words"
    world.settle()
    assert world.git.snapshots == ["last words"]


def test_a_delete_that_cannot_save_deletes_nothing(world: World) -> None:
    world.ready()
    world.git.worktrees[WORKTREE].dirty = "half a thought"
    world.store.instances.request_deletion("web")
    world.git.fail_next("snapshot", Terminal("SnapshotFailed", "the disk is full"))
    world.settle()
    assert not world.gone()
    assert WORKTREE in world.git.worktrees
    assert world.condition("Ready").reason == "SnapshotFailed"
    world.settle()
    assert world.gone()


def test_what_was_never_made_can_be_deleted_without_its_repository(world: World) -> None:
    world.declare(repository="nowhere")
    world.settle()
    assert world.condition("Ready").reason == "RepositoryNotFound"
    assert "cco init" in world.condition("Ready").message
    world.store.instances.request_deletion("web")
    world.settle()
    assert world.gone()


def test_a_row_that_stays_a_moment_longer_leaves_no_folder_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ready()
    world.store.instances.request_deletion("web")

    def full(_uid: str) -> None:
        raise Retryable("DiskFull", "the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(world.store.instances, "purge", full)
        world.settle()
    assert world.readiness()[1] == "DiskFull"
    assert not world.settings.instance_dir("web").exists()
    world.settle()
    assert world.gone("web")
    assert not world.settings.instance_dir("web").exists()


def test_deleting_again_after_everything_is_gone_is_quiet(world: World) -> None:
    assert world.one_pass("never-declared") is None
