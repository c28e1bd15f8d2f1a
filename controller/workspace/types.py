"""What the loop knows about workspaces: plain values and one protocol; git itself stays behind it.

The workspace of an instance has two halves (see ``docs/security.md``): a real worktree in the user's repository,
and a private git directory that the agent sees instead of the repository's own. Commits are carried home from
the second to the first; the agent can reach nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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
        branch_deleted: a person deleted the user's branch of a workspace that is ready; ``detail`` says how to undo it.
        unsaved: uncommitted files, and commits that were not brought home yet.
        snapshot: the newest snapshot's commit, if any.
    """

    presence: Presence
    detail: str = ""
    head: str | None = None
    base_commit: str | None = None
    ahead: int = 0
    diverged: bool = False
    branch_deleted: bool = False
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


@dataclass(frozen=True, slots=True)
class SavedWork:
    """One snapshot, as its ref and its commit tell.

    Attributes:
        id: last part of its ref, ``TIME-COMMIT``; unique among the snapshots of one instance name.
        instance: the name of the instance whose work it is; the instance may be gone.
        uid: which instance of that name; ``None`` in a snapshot that somebody else made.
        base: the commit the files stood on; ``None`` when there was none.
        branch: the instance's branch, where the snapshot tells it.
        files: how many files differ from ``base``.
    """

    id: str
    instance: str
    uid: str | None
    taken_at: datetime
    commit: str
    base: str | None
    branch: str | None
    message: str
    files: int


class ChangeKind(StrEnum):
    """What happened to a file between the commit a snapshot stands on and the snapshot."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"
    RETYPED = "retyped"


@dataclass(frozen=True, slots=True)
class SavedChange:
    """One file of a snapshot that differs.

    Attributes:
        path: for people: bytes that are no UTF-8 are written as escapes.
        old_path: the former name of a renamed file.
        insertions: lines added; ``None`` for a binary file, as are ``deletions``.
    """

    kind: ChangeKind
    path: str
    old_path: str | None = None
    insertions: int | None = None
    deletions: int | None = None


@dataclass(frozen=True, slots=True)
class SavedDetail:
    """A snapshot with what is in it.

    Attributes:
        changes: the files that differ, by path; at most :data:`MAX_CHANGES` of them.
        insertions: lines added in all files, as are ``deletions``.
        diff: the difference as text, if it was asked for.
        diff_cut: the difference is longer than what is told.
    """

    work: SavedWork
    text: str
    changes: tuple[SavedChange, ...]
    insertions: int
    deletions: int
    diff: str | None = None
    diff_cut: bool = False


MAX_CHANGES = 1000
MAX_DIFF = 256 << 10
"""Bytes of a difference that are told."""


@dataclass(frozen=True, slots=True)
class ToBranch:
    """Restore as the tip of a new branch; ``None`` = ``restore/NAME-TIME``."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class ToFolder:
    """Restore into a new worktree at an absolute path, on no branch, with the work uncommitted as it was."""

    path: str


@dataclass(frozen=True, slots=True)
class ToWorkspace:
    """Restore into the worktree of an instance in which nobody works at the moment; the caller sees to that."""

    ref: WorkspaceRef


RestoreTarget = ToBranch | ToFolder | ToWorkspace


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a snapshot that was restored.

    Attributes:
        branch: the new branch, if one was made.
        path: the folder that has the files now, if there is one.
        files: how many files were written or removed; 0 when all were as in the snapshot already.
        previous: the snapshot of what was uncommitted in the worktree before; ``None`` when nothing was.
        skipped: paths that cannot be restored by files: submodules.
    """

    commit: str
    branch: str | None = None
    path: str | None = None
    files: int = 0
    previous: str | None = None
    skipped: tuple[str, ...] = ()


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

        Raises:
            Terminal: ``FileUnreadable``, ``FileTooLarge``, ``WorktreeTooLarge``, ``TreeTooDeep``, as a deep look does:
                what cannot be saved is told by name and never left out.
        """

    def remove(self, ref: WorkspaceRef, *, keep_worktree: bool = False, or_lose: bool = False) -> None:
        """Remove worktree folder, registration and private git directory; branch and snapshots stay.

        With ``keep_worktree`` folder and registration stay as well and belong to the user from then on.

        Checks by itself, immediately before, that nothing unsaved is there; raises Retryable ``UnsavedWork`` if so.
        With ``or_lose`` it does not: the owner gave up, by name, what cannot be saved.
        """

    def mounts(self, ref: WorkspaceRef) -> tuple[Mount, ...]:
        """Return what the workload has to see: worktree, private git directory, the objects read-only."""

    def snapshots(self, repository: str, *, instance: str | None = None) -> tuple[SavedWork, ...]:
        """Return all snapshots in a repository, oldest first, also those of instances that are gone."""

    def show_snapshot(
        self, repository: str, identity: str, *, instance: str | None = None, diff: bool = False
    ) -> SavedDetail:
        """Return the snapshot of that id with the files that differ; ``diff`` adds the difference as text, cut.

        Raises:
            NotFound: ``SnapshotNotFound``.
            Terminal: ``SnapshotAmbiguous``: several instances have one of that id; name the instance.
        """

    def restore_snapshot(
        self,
        repository: str,
        identity: str,
        target: RestoreTarget,
        *,
        instance: str | None = None,
    ) -> Restored:
        """Bring a snapshot's files back; nothing that exists is overwritten, and the snapshot stays.

        In a living worktree a file is written only where the one there is what the snapshot stood on; what is
        uncommitted there is saved first. Repeating it after a crash goes on where it stopped.

        Raises:
            NotFound: ``SnapshotNotFound``.
            Terminal: ``BranchExists``, ``BranchNameTaken``, ``InvalidBranch``, ``PathOccupied``, ``InvalidPath``,
                ``PermissionDenied``, ``WorktreeNotReady``, ``RestoreConflict`` (nothing was changed).
            Retryable: ``WorktreeChanging``.
        """
