"""The fake of the workspaces: repositories, worktrees and saved work in memory, and nothing is ever forgotten.

``commits`` of a worktree are what the agent made in its private git directory, ``dirty`` is uncommitted work. What
was carried home stands in :attr:`FakeGit.branches`, what was saved in :attr:`FakeGit.snapshots`; a property test can
ask whether every piece of work is in one of them or still in its worktree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from controller.errors import CcoError, Conflict, NotFound, Retryable, Terminal, Unavailable
from controller.runtime.protocol import Mount
from controller.workspace.types import (
    ChangeKind,
    Collected,
    Presence,
    RepositoryState,
    Restored,
    RestoreTarget,
    SavedChange,
    SavedDetail,
    SavedWork,
    ToBranch,
    ToFolder,
    ToWorkspace,
    Unsaved,
    WorkspaceRef,
    WorkspaceState,
)

FIRST_SNAPSHOT = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def snapshot_of(work: str) -> str:
    """Return the commit that saves some work."""
    return hashlib.sha1(work.encode(), usedforsecurity=False).hexdigest()


@dataclass
class FakeWorktree:
    """One worktree with its private git directory."""

    uid: str
    branch: str
    commits: list[str] = field(default_factory=list)
    dirty: str = ""
    broken: str = ""


class FakeGit:
    """What outlives a controller: repositories on a disk."""

    def __init__(self) -> None:
        self.repositories: dict[str, RepositoryState] = {}
        self.branches: dict[str, list[str]] = {}
        self.snapshots: list[str] = []
        self.works: dict[str, list[tuple[SavedWork, str]]] = {}
        self.folders: dict[str, str] = {}
        self.worktrees: dict[str, FakeWorktree] = {}
        self.kept: list[str] = []
        self.diverged: set[str] = set()
        self.changes: list[str] = []
        self.trespasses: list[str] = []
        self.failures: dict[str, list[CcoError]] = {}
        self.interrupt: Callable[[str, str], None] | None = None

    def add_repository(self, path: str, *, head: str | None = "c0", branch: str | None = "main") -> None:
        branches = (branch,) if branch and head else ()
        self.repositories[path] = RepositoryState(f"{path}/.git", branch, head, branches, (1000, 1000), bare=False)

    def fail_next(self, verb: str, error: CcoError | None = None) -> None:
        """Let the next call of the verb raise (default: Unavailable)."""
        self.failures.setdefault(verb, []).append(error or Unavailable("GitUnavailable", "the disk does not answer"))

    def check_ours(self, verb: str, ref: WorkspaceRef) -> None:
        """Refuse, as the real one does, and remember that the loop asked at all."""
        worktree = self.worktrees.get(ref.worktree)
        if worktree is not None and worktree.uid != ref.uid:
            self.trespasses.append(f"{verb} {ref.worktree}")
            raise Conflict("PathOccupied", f"{ref.worktree} is not ours")

    @contextmanager
    def call(self, verb: str) -> Iterator[None]:
        """Wrap one verb: it may fail or be cut off."""
        if self.interrupt is not None:
            self.interrupt(verb, "before")
        if self.failures.get(verb):
            raise self.failures[verb].pop(0)
        yield
        if self.interrupt is not None:
            self.interrupt(verb, "after")


class FakeWorkspaces:
    """Implements ``controller.workspace.types.Workspaces`` over a :class:`FakeGit`."""

    def __init__(self, git: FakeGit) -> None:
        self.git = git

    def inspect_repository(self, path: str) -> RepositoryState:
        with self.git.call("inspect_repository"):
            if path not in self.git.repositories:
                raise Terminal("RepositoryNotFound", f"spec.path: there is no repository at {path!r}")
            return self.git.repositories[path]

    def inspect(self, ref: WorkspaceRef, *, deep: bool = False) -> WorkspaceState:
        with self.git.call("inspect"):
            home = self.git.branches.get(ref.branch)
            worktree = self.git.worktrees.get(ref.worktree)
            if worktree is None:
                return WorkspaceState(Presence.ABSENT)
            if worktree.uid != ref.uid:
                return WorkspaceState(Presence.FOREIGN, "something else is there")
            unsaved = Unsaved.UNEXAMINED
            if deep:
                saved = worktree.dirty in self.git.snapshots
                unsaved = Unsaved.NONE if not worktree.dirty else Unsaved.SNAPSHOTTED if saved else Unsaved.UNSAVED
            return WorkspaceState(
                Presence.BROKEN if worktree.broken else Presence.READY,
                detail=worktree.broken,
                head=home[-1] if home else "c0",
                base_commit="c0",
                ahead=len(home or ()),
                diverged=ref.branch in self.git.diverged,
                unsaved=unsaved,
            )

    def create(self, ref: WorkspaceRef) -> None:
        with self.git.call("create"):
            self.git.check_ours("create", ref)
            worktree = self.git.worktrees.setdefault(ref.worktree, FakeWorktree(ref.uid, ref.branch))
            worktree.broken = ""
            self.git.branches.setdefault(ref.branch, [])
            self.git.changes.append(f"create {ref.instance}")

    def collect(self, ref: WorkspaceRef) -> Collected:
        with self.git.call("collect"):
            self.git.check_ours("collect", ref)
            worktree = self.git.worktrees[ref.worktree]
            home = self.git.branches.setdefault(ref.branch, [])
            new = [commit for commit in worktree.commits if commit not in home]
            home.extend(new)
            if new:
                self.git.changes.append(f"collect {ref.instance}")
            return Collected(home[-1] if home else "c0", moved=bool(new), diverged=False)

    def snapshot(self, ref: WorkspaceRef, *, message: str) -> str | None:
        with self.git.call("snapshot"):
            self.git.check_ours("snapshot", ref)
            dirty = self.git.worktrees[ref.worktree].dirty
            if not dirty:
                return None
            if dirty not in self.git.snapshots:
                self.git.snapshots.append(dirty)
                self.git.changes.append(f"snapshot {ref.instance}")
                self._note(ref, message)
            return snapshot_of(dirty)

    def _note(self, ref: WorkspaceRef, message: str) -> None:
        works = self.git.works.setdefault(ref.repository, [])
        taken_at = FIRST_SNAPSHOT + timedelta(seconds=len(works))
        dirty = self.git.worktrees[ref.worktree].dirty
        facts = (taken_at, snapshot_of(dirty), (self.git.branches.get(ref.branch) or ["c0"])[-1])
        identity = f"{taken_at:%Y%m%dT%H%M%S.%fZ}-{snapshot_of(dirty)[:12]}"
        works.append((SavedWork(identity, ref.instance, ref.uid, *facts, ref.branch, message, 1), dirty))

    def snapshots(self, repository: str, *, instance: str | None = None) -> tuple[SavedWork, ...]:
        with self.git.call("snapshots"):
            return tuple(work for work, _ in self._works(repository) if instance in {None, work.instance})

    def show_snapshot(
        self, repository: str, identity: str, *, instance: str | None = None, diff: bool = False
    ) -> SavedDetail:
        with self.git.call("show_snapshot"):
            work, dirty = self._find(repository, identity, instance)
            change = SavedChange(ChangeKind.MODIFIED, "README.md", None, 1, 1)
            text = f"{work.message}\n\nInstance: {work.instance}"
            return SavedDetail(work, text, (change,), 1, 1, f"--- README.md\n+{dirty}\n" if diff else None)

    def restore_snapshot(
        self, repository: str, identity: str, target: RestoreTarget, *, instance: str | None = None
    ) -> Restored:
        with self.git.call("restore_snapshot"):
            work, dirty = self._find(repository, identity, instance)
            match target:
                case ToBranch():
                    name = target.name or f"restore/{work.instance}-{work.taken_at:%Y%m%dT%H%M%SZ}"
                    if name in self.git.branches:
                        raise Terminal("BranchExists", f"branch {name!r} exists already")
                    self.git.branches[name] = [work.commit]
                    return Restored(work.commit, branch=name, files=1)
                case ToFolder():
                    if target.path in {*self.git.folders, *self.git.worktrees}:
                        raise Conflict("PathOccupied", f"{target.path} exists already")
                    self.git.folders[target.path] = dirty
                    return Restored(work.commit, path=target.path, files=1)
                case ToWorkspace():
                    return self._restore_into(work, dirty, target.ref)

    def _restore_into(self, work: SavedWork, dirty: str, ref: WorkspaceRef) -> Restored:
        worktree = self.git.worktrees.get(ref.worktree)
        if worktree is None or worktree.broken:
            raise Terminal("WorktreeNotReady", f"instance {ref.instance!r} cannot take the files")
        if worktree.dirty not in {"", dirty}:
            raise Terminal("RestoreConflict", f"{ref.worktree}: README.md is neither, so nothing was changed")
        files = int(worktree.dirty != dirty)
        worktree.dirty = dirty
        return Restored(work.commit, path=ref.worktree, files=files)

    def _works(self, repository: str) -> list[tuple[SavedWork, str]]:
        if repository not in self.git.repositories:
            raise Terminal("RepositoryNotFound", f"there is no repository at {repository!r}")
        return self.git.works.get(repository, [])

    def _find(self, repository: str, identity: str, instance: str | None) -> tuple[SavedWork, str]:
        for work, dirty in self._works(repository):
            if work.id == identity and instance in {None, work.instance}:
                return work, dirty
        raise NotFound("SnapshotNotFound", f"{repository} has no snapshot {identity!r}")

    def remove(self, ref: WorkspaceRef, *, keep_worktree: bool = False, or_lose: bool = False) -> None:
        with self.git.call("remove"):
            self.git.check_ours("remove", ref)
            worktree = self.git.worktrees.get(ref.worktree)
            if worktree is None:
                return
            if worktree.dirty and worktree.dirty not in self.git.snapshots and not or_lose:
                raise Retryable("UnsavedWork", f"{ref.worktree} holds work that is saved nowhere")
            del self.git.worktrees[ref.worktree]
            if keep_worktree:
                self.git.kept.append(ref.worktree)
            self.git.changes.append(f"remove {ref.instance}")

    def mounts(self, ref: WorkspaceRef) -> tuple[Mount, ...]:
        return (Mount(ref.worktree, ref.worktree), Mount(ref.private, ref.private))
