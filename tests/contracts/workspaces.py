"""What every implementation of the workspaces promises, as tests; run against real git and against the fake.

A test file derives from :class:`WorkspacesContract` and gives it a fixture ``world`` that can do what agents, people
and accidents do to a workspace.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pytest

from controller.errors import Conflict, NotFound, Retryable, Terminal
from controller.workspace.types import (
    Presence,
    SavedWork,
    ToBranch,
    ToFolder,
    ToWorkspace,
    Unsaved,
    WorkspaceRef,
    Workspaces,
)


class World(Protocol):
    """A repository as everybody sees it but the workspaces under test."""

    @property
    def workspaces(self) -> Workspaces:
        """The implementation under test."""

    def ref(self, instance: str = "web") -> WorkspaceRef:
        """Return a workspace that is not there yet."""

    def agent_commits(self, ref: WorkspaceRef) -> str:
        """Let the agent commit; returns the commit."""

    def agent_edits(self, ref: WorkspaceRef, text: str) -> None:
        """Let the agent change a file without committing."""

    def text(self, ref: WorkspaceRef) -> str:
        """Return the content of the file that the agent changes."""

    def free_folder(self) -> str:
        """Return a path where nothing is and a folder can be made."""

    def occupy(self, ref: WorkspaceRef) -> None:
        """Let something foreign stand where the worktree would be."""

    def damage(self, ref: WorkspaceRef) -> None:
        """Break a workspace so that it has to be repaired, without touching any work."""

    def branch(self, ref: WorkspaceRef) -> str:
        """Return the commit of the user's branch."""


class WorkspacesContract:
    """See the module's docstring."""

    def test_absent_becomes_ready_and_stays_so(self, world: World) -> None:
        ref = world.ref()
        assert world.workspaces.inspect(ref).presence is Presence.ABSENT
        world.workspaces.create(ref)
        world.workspaces.create(ref)
        state = world.workspaces.inspect(ref)
        assert (state.presence, state.ahead, state.diverged) == (Presence.READY, 0, False)
        assert state.head == state.base_commit

    def test_only_a_deep_look_tells_what_is_unsaved(self, world: World) -> None:
        ref = world.ref()
        world.workspaces.create(ref)
        assert world.workspaces.inspect(ref).unsaved is Unsaved.UNEXAMINED
        assert world.workspaces.inspect(ref, deep=True).unsaved is Unsaved.NONE

    def test_commits_come_home_once(self, world: World) -> None:
        ref = world.ref()
        world.workspaces.create(ref)
        commit = world.agent_commits(ref)
        first, second = world.workspaces.collect(ref), world.workspaces.collect(ref)
        assert (first.head, first.moved, first.diverged) == (commit, True, False)
        assert (second.head, second.moved, second.diverged) == (commit, False, False)
        state = world.workspaces.inspect(ref)
        assert (state.head, state.ahead) == (commit, 1)

    def test_unsaved_work_is_not_removed_and_saved_work_is(self, world: World) -> None:
        ref = world.ref()
        world.workspaces.create(ref)
        commit = world.agent_commits(ref)
        world.workspaces.collect(ref)
        world.agent_edits(ref, "one")
        assert world.workspaces.inspect(ref, deep=True).unsaved is Unsaved.UNSAVED
        with pytest.raises(Retryable) as caught:
            world.workspaces.remove(ref)
        assert caught.value.reason == "UnsavedWork"
        assert world.workspaces.snapshot(ref, message="x") is not None
        assert world.workspaces.inspect(ref, deep=True).unsaved is Unsaved.SNAPSHOTTED
        world.workspaces.remove(ref)
        world.workspaces.remove(ref)
        assert world.workspaces.inspect(ref).presence is Presence.ABSENT
        assert world.branch(ref) == commit

    def test_same_work_is_saved_once(self, world: World) -> None:
        ref = world.ref()
        world.workspaces.create(ref)
        assert world.workspaces.snapshot(ref, message="x") is None
        world.agent_edits(ref, "one")
        first = world.workspaces.snapshot(ref, message="x")
        assert first is not None
        assert world.workspaces.snapshot(ref, message="x") == first
        world.agent_edits(ref, "two")
        assert world.workspaces.snapshot(ref, message="x") not in {None, first}

    def test_what_is_not_ours_is_not_touched(self, world: World) -> None:
        ref = world.ref()
        world.occupy(ref)
        assert world.workspaces.inspect(ref).presence is Presence.FOREIGN
        for act in (world.workspaces.create, world.workspaces.remove):
            with pytest.raises(Conflict):
                act(ref)
        assert world.workspaces.inspect(ref).presence is Presence.FOREIGN

    def test_workspace_of_another_uid_is_not_ours(self, world: World) -> None:
        ref = world.ref()
        world.workspaces.create(ref)
        other = replace(ref, uid="another")
        assert world.workspaces.inspect(other).presence is Presence.FOREIGN
        with pytest.raises(Conflict):
            world.workspaces.create(other)
        with pytest.raises(Conflict):
            world.workspaces.collect(other)
        with pytest.raises(Conflict):
            world.workspaces.snapshot(other, message="x")
        with pytest.raises(Conflict):
            world.workspaces.remove(other)
        assert world.workspaces.inspect(ref).presence is Presence.READY

    def test_broken_is_repaired_with_the_work_in_it(self, world: World) -> None:
        ref = world.ref()
        world.workspaces.create(ref)
        world.agent_edits(ref, "one")
        world.damage(ref)
        state = world.workspaces.inspect(ref)
        assert state.presence is Presence.BROKEN
        assert state.detail
        world.workspaces.create(ref)
        state = world.workspaces.inspect(ref, deep=True)
        assert (state.presence, state.unsaved) == (Presence.READY, Unsaved.UNSAVED)

    def test_kept_worktree_is_nobodys_workspace(self, world: World) -> None:
        ref = world.ref()
        world.workspaces.create(ref)
        world.workspaces.remove(ref, keep_worktree=True)
        assert world.workspaces.inspect(ref).presence is not Presence.READY

    def test_workload_sees_worktree_and_git_directory(self, world: World) -> None:
        ref = world.ref()
        world.workspaces.create(ref)
        writable = {mount.target for mount in world.workspaces.mounts(ref) if not mount.read_only}
        assert writable == {ref.worktree, ref.private}

    def test_unknown_repository(self, world: World) -> None:
        with pytest.raises(Terminal) as caught:
            world.workspaces.inspect_repository("/nowhere/at/all")
        assert caught.value.reason == "RepositoryNotFound"

    def test_snapshots_are_found_when_their_instance_is_gone(self, world: World) -> None:
        ref = world.ref()
        assert world.workspaces.snapshots(ref.repository) == ()
        first, second = _saved(world, ref, "one"), _saved(world, ref, "two")
        world.workspaces.remove(ref)
        assert world.workspaces.snapshots(ref.repository) == (first, second)
        assert world.workspaces.snapshots(ref.repository, instance=ref.instance) == (first, second)
        assert world.workspaces.snapshots(ref.repository, instance="other") == ()
        assert (first.instance, first.uid, first.branch, first.files) == (ref.instance, ref.uid, ref.branch, 1)
        assert first.message == "Save it"
        assert first.taken_at < second.taken_at

    def test_one_snapshot_is_shown(self, world: World) -> None:
        ref = world.ref()
        work = _saved(world, ref, "one")
        detail = world.workspaces.show_snapshot(ref.repository, work.id)
        assert (detail.work, detail.diff, [change.path for change in detail.changes]) == (work, None, ["README.md"])
        assert detail.text.startswith("Save it")
        assert "+one" in (world.workspaces.show_snapshot(ref.repository, work.id, diff=True).diff or "")
        for identity, instance in (("nothing", None), (work.id, "other")):
            with pytest.raises(NotFound) as caught:
                world.workspaces.show_snapshot(ref.repository, identity, instance=instance)
            assert caught.value.reason == "SnapshotNotFound"

    def test_a_snapshot_is_restored_to_a_new_branch_once(self, world: World) -> None:
        ref = world.ref()
        work = _saved(world, ref, "one")
        done = world.workspaces.restore_snapshot(ref.repository, work.id, ToBranch())
        assert (done.commit, done.branch) == (work.commit, f"restore/web-{work.taken_at:%Y%m%dT%H%M%SZ}")
        with pytest.raises(Terminal) as caught:
            world.workspaces.restore_snapshot(ref.repository, work.id, ToBranch())
        assert caught.value.reason == "BranchExists"

    def test_a_snapshot_is_restored_to_a_new_folder_once(self, world: World) -> None:
        ref = world.ref()
        work = _saved(world, ref, "one")
        target = ToFolder(world.free_folder())
        done = world.workspaces.restore_snapshot(ref.repository, work.id, target)
        assert (done.path, done.files) == (target.path, 1)
        with pytest.raises(Conflict) as caught:
            world.workspaces.restore_snapshot(ref.repository, work.id, target)
        assert caught.value.reason == "PathOccupied"

    def test_a_snapshot_is_restored_to_a_worktree_without_a_loss(self, world: World) -> None:
        ref = world.ref()
        work = _saved(world, ref, "one")
        world.workspaces.remove(ref)
        with pytest.raises(Terminal) as caught:
            world.workspaces.restore_snapshot(ref.repository, work.id, ToWorkspace(ref))
        assert caught.value.reason == "WorktreeNotReady"
        world.workspaces.create(ref)
        assert world.workspaces.restore_snapshot(ref.repository, work.id, ToWorkspace(ref)).files == 1
        assert world.text(ref) == "one"
        assert world.workspaces.restore_snapshot(ref.repository, work.id, ToWorkspace(ref)).files == 0
        world.agent_edits(ref, "two")
        with pytest.raises(Terminal) as caught:
            world.workspaces.restore_snapshot(ref.repository, work.id, ToWorkspace(ref))
        assert caught.value.reason == "RestoreConflict"
        assert world.text(ref) == "two"


def _saved(world: World, ref: WorkspaceRef, text: str) -> SavedWork:
    """Let the agent change a file and save that."""
    world.workspaces.create(ref)
    world.agent_edits(ref, text)
    assert world.workspaces.snapshot(ref, message="Save it") is not None
    return world.workspaces.snapshots(ref.repository)[-1]
