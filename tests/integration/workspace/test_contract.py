"""Real git and the fake keep the same contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.workspaces import WorkspacesContract, World
from controller.workspace.types import WorkspaceRef
from support.fake_workspaces import FakeGit, FakeWorkspaces, FakeWorktree
from support.git_world import OWNERS, GitWorld, git_world


class RealWorld:
    """The contract's world over real git."""

    def __init__(self, world: GitWorld) -> None:
        self._world = world
        self.workspaces = world.workspaces

    def ref(self, instance: str = "web") -> WorkspaceRef:
        return self._world.ref(instance)

    def agent_commits(self, ref: WorkspaceRef) -> str:
        self._world.create(ref)
        return self._world.agent_commits(ref)

    def agent_edits(self, ref: WorkspaceRef, text: str) -> None:
        self._world.agent_writes(ref, "README.md", text)

    def text(self, ref: WorkspaceRef) -> str:
        return (Path(ref.worktree) / "README.md").read_text()

    def free_folder(self) -> str:
        return str(self._world.base / "restored")

    def occupy(self, ref: WorkspaceRef) -> None:
        self._world.write(Path(ref.worktree) / "mine.txt", "x", self._world.owner)

    def damage(self, ref: WorkspaceRef) -> None:
        (Path(ref.worktree) / ".git").unlink()

    def branch(self, ref: WorkspaceRef) -> str:
        return self._world.head(ref)


class FakeWorld:
    """The contract's world over the fake."""

    def __init__(self) -> None:
        self._git = FakeGit()
        self._git.add_repository("/repository")
        self.workspaces = FakeWorkspaces(self._git)

    def ref(self, instance: str = "web") -> WorkspaceRef:
        places = (f"/worktrees/{instance}", f"/state/{instance}/git")
        return WorkspaceRef(instance, f"uid-{instance}", "/repository", instance, None, *places, 1, (1000, 1000))

    def agent_commits(self, ref: WorkspaceRef) -> str:
        commits = self._git.worktrees[ref.worktree].commits
        commits.append(f"c{len(commits) + 1}")
        return commits[-1]

    def agent_edits(self, ref: WorkspaceRef, text: str) -> None:
        self._git.worktrees[ref.worktree].dirty = text

    def text(self, ref: WorkspaceRef) -> str:
        return self._git.worktrees[ref.worktree].dirty

    def free_folder(self) -> str:
        return "/restored"

    def occupy(self, ref: WorkspaceRef) -> None:
        self._git.worktrees[ref.worktree] = FakeWorktree("somebody", ref.branch)

    def damage(self, ref: WorkspaceRef) -> None:
        self._git.worktrees[ref.worktree].broken = "broken"

    def branch(self, ref: WorkspaceRef) -> str:
        return self._git.branches[ref.branch][-1]


class TestRealGit(WorkspacesContract):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        with git_world(OWNERS[-1]) as made:
            yield RealWorld(made)


class TestFake(WorkspacesContract):
    @pytest.fixture
    def world(self) -> World:
        return FakeWorld()
