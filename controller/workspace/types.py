"""What the loop knows about workspaces: plain values and one protocol; git itself stays behind it.

The workspace of an instance has two halves (see ``docs/security.md``): a real worktree in the user's repository,
and a private git directory that the agent sees instead of the repository's own. Commits are carried home from
the second to the first; the agent can reach nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from controller.runtime.protocol import Mount


@dataclass(frozen=True, slots=True)
class WorkspaceRef:
    """Which workspace: everything needed to find or make it, and nothing that changes while it lives.

    Attributes:
        repository: absolute path of the user's repository.
        base_branch: where a new branch starts; ``None`` = the branch HEAD of the repository is on.
        worktree: absolute path of the worktree folder.
        private: absolute path of the private git directory.
        attempt: attempt of the workload; part of the refs that hold its commits.
        owner: ``(uid, gid)`` that must own what the agent writes.
    """

    instance: str
    uid: str
    repository: str
    branch: str
    base_branch: str | None
    worktree: str
    private: str
    attempt: int
    owner: tuple[int, int]


class Presence(StrEnum):
    """What stands where the workspace should be.

    ``BROKEN`` is ours but incomplete (a crash in the middle, a registration pruned, a folder removed by hand);
    ``create`` repairs it without losing anything. ``FOREIGN`` was not made by us and is never touched.
    """

    ABSENT = "absent"
    READY = "ready"
    BROKEN = "broken"
    FOREIGN = "foreign"


class Unsaved(StrEnum):
    """Whether the worktree holds work that exists nowhere else. ``UNEXAMINED``: a shallow look was asked for."""

    UNEXAMINED = "unexamined"
    NONE = "none"
    SNAPSHOTTED = "snapshotted"
    UNSAVED = "unsaved"


@dataclass(frozen=True, slots=True)
class WorkspaceState:
    """A look at one workspace.

    Attributes:
        detail: for people: why it is broken or foreign, or what is odd about one that is ready.
        head: the branch's commit in the user's repository; ``None`` when the branch does not exist.
        ahead: commits of the branch since ``base_commit``.
        diverged: the agent's branch and the user's branch have both moved; both are kept, neither is changed.
        unsaved: uncommitted files, and commits that were not brought home yet.
        snapshot: the newest snapshot's commit, if any.
    """

    presence: Presence
    detail: str = ""
    head: str | None = None
    base_commit: str | None = None
    ahead: int = 0
    diverged: bool = False
    unsaved: Unsaved = Unsaved.UNEXAMINED
    snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """Outcome of carrying commits home. ``head`` is the user's branch afterwards."""

    head: str | None
    moved: bool
    diverged: bool


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """A look at a user's repository.

    Attributes:
        git_dir: absolute path of its git directory.
        default_branch: the branch HEAD is on; ``None`` when detached.
        head: commit of HEAD; ``None`` in an empty repository.
        warnings: things that work only partly (submodules, LFS pointers, ...), for people.
    """

    git_dir: str
    default_branch: str | None
    head: str | None
    branches: tuple[str, ...]
    owner: tuple[int, int]
    bare: bool
    warnings: tuple[str, ...] = ()


class Workspaces(Protocol):
    """Every verb is idempotent and safe to repeat after a crash at any point.

    A look that cannot know raises :class:`~controller.errors.Unavailable`; what a person has to mend is
    :class:`~controller.errors.Terminal` with a reason such as ``RepositoryNotFound``, ``EmptyRepository``,
    ``BaseBranchNotFound``, ``BranchCheckedOutElsewhere``, ``PathOccupied``.
    """

    def inspect_repository(self, path: str) -> RepositoryState:
        """Look at a repository; raises Terminal ``RepositoryNotFound`` or ``NotARepository``."""

    def inspect(self, ref: WorkspaceRef, *, deep: bool = False) -> WorkspaceState:
        """Look at a workspace. ``deep`` also tells ``unsaved``, which reads the whole worktree."""

    def create(self, ref: WorkspaceRef) -> None:
        """Make or repair branch, worktree and private git directory; checks everything before it makes anything.

        The container must be stopped when a removed worktree folder is made again (a running one would keep
        the dead folder); the planner sees to that.
        """

    def collect(self, ref: WorkspaceRef) -> Collected:
        """Carry the agent's commits into the user's repository, below ``refs/cco/``, and let the branch follow.

        The branch moves forward, or, where nobody but the agent has moved it, to the agent's amended or rebased
        commit; no commit ever loses its last ref. See ``docs/adr/0003-follow-the-agents-rewrites.md``.

        Raises:
            Terminal: ``CommitsDamaged`` (what is whole was brought), ``TooMuchWork``, ``TooManyRefs``.
        """

    def snapshot(self, ref: WorkspaceRef, *, message: str) -> str | None:
        """Save tracked and untracked (not ignored) uncommitted work under ``refs/cco/snapshots/NAME/``.

        Returns the commit (the newest one again while nothing has changed), or ``None`` when there is nothing to
        save. Index, worktree and branch are not touched. Work inside declared submodules is not saved.
        """

    def remove(self, ref: WorkspaceRef, *, keep_worktree: bool = False) -> None:
        """Remove worktree folder, registration and private git directory; branch and snapshots stay.

        With ``keep_worktree`` folder and registration stay as well and belong to the user from then on.

        Checks by itself, immediately before, that nothing unsaved is there; raises Retryable ``UnsavedWork`` if so.
        """

    def mounts(self, ref: WorkspaceRef) -> tuple[Mount, ...]:
        """Return what the workload has to see: worktree, private git directory, the objects read-only."""
