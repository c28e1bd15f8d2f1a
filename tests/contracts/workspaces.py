"""What every implementation of the workspaces promises, as tests; run against real git and against the fake.

A test file derives from :class:`WorkspacesContract` and gives it a fixture ``world`` that can do what agents, people
and accidents do to a workspace.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pytest

from controller.errors import Conflict, Retryable, Terminal
from controller.workspace.types import Presence, Unsaved, WorkspaceRef, Workspaces


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
