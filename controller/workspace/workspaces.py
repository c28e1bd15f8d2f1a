"""``GitWorkspaces``: the :class:`~controller.workspace.types.Workspaces` of the loop, on real git.

You come from ``controller/reconcile``; each verb's story is in the module it calls: ``creation.py``,
``collect.py``, ``snapshot.py``, ``removal.py``. Looks are here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.errors import Retryable, Terminal, Unavailable
from controller.runtime.protocol import Mount

from . import collect, creation, private, removal, repository, restore, saved, snapshot
from .git import Git
from .names import RefNames
from .presence import look
from .refs import InstanceRefs, count_between, is_ancestor, read_instance_refs
from .types import (
    Collected,
    Presence,
    RepositoryState,
    Restored,
    RestoreTarget,
    SavedDetail,
    SavedWork,
    ToFolder,
    ToWorkspace,
    Unsaved,
    WorkspaceRef,
    WorkspaceState,
)
from .worktree import is_readable


class GitWorkspaces:
    """Worktrees in users' repositories and private git directories below the state directory.

    Args:
        state_dir: the controller's state directory; private git directories elsewhere are refused, because
            they are made and removed as root.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def inspect_repository(self, path: str) -> RepositoryState:
        """Look at a repository."""
        with _explained():
            return repository.inspect(path)

    def inspect(self, ref: WorkspaceRef, *, deep: bool = False) -> WorkspaceState:
        """Look at a workspace; a shallow look reads files only, as long as the repository's refs are plain."""
        with _explained():
            return self._inspect(ref, deep=deep)

    def create(self, ref: WorkspaceRef) -> None:
        """Make or repair the workspace."""
        with _explained(acting=True):
            self._check(ref)
            creation.create(ref)

    def collect(self, ref: WorkspaceRef) -> Collected:
        """Bring the agent's commits home."""
        with _explained(acting=True):
            self._check(ref)
            return collect.collect(ref)

    def snapshot(self, ref: WorkspaceRef, *, message: str) -> str | None:
        """Save uncommitted work."""
        with _explained(acting=True):
            self._check(ref)
            return snapshot.take(ref, message)

    def remove(self, ref: WorkspaceRef, *, keep_worktree: bool = False, or_lose: bool = False) -> None:
        """Remove the workspace, or all of it but the worktree."""
        with _explained(acting=True):
            self._check(ref)
            removal.remove(ref, keep_worktree=keep_worktree, or_lose=or_lose)

    def mounts(self, ref: WorkspaceRef) -> tuple[Mount, ...]:
        """Return what the workload has to see."""
        with _explained():
            self._check(ref)
            return private.mounts(repository.locate(ref.repository), ref)

    def snapshots(self, repository: str, *, instance: str | None = None) -> tuple[SavedWork, ...]:
        """Return all snapshots in a repository."""
        with _explained():
            return saved.list_saved(repository, instance)

    def show_snapshot(
        self, repository: str, identity: str, *, instance: str | None = None, diff: bool = False
    ) -> SavedDetail:
        """Return one snapshot with its files."""
        with _explained():
            return saved.show_saved(repository, identity, instance, diff=diff)

    def restore_snapshot(
        self,
        repository: str,
        identity: str,
        target: RestoreTarget,
        *,
        instance: str | None = None,
    ) -> Restored:
        """Bring a snapshot's files back."""
        with _explained(acting=True):
            if isinstance(target, ToWorkspace):
                self._check(target.ref)
            if isinstance(target, ToFolder) and Path(os.path.realpath(target.path)).is_relative_to(self._state_dir):
                raise Terminal("InvalidPath", f"path {target.path!r} lies in {self._state_dir}: take another folder")
            return restore.restore(repository, identity, instance, target)

    def _inspect(self, ref: WorkspaceRef, *, deep: bool) -> WorkspaceState:
        self._check(ref)
        place = repository.locate(ref.repository)
        found = look(place, ref)
        names = RefNames(ref.instance, ref.uid, ref.attempt)
        examined = deep and found.presence in {Presence.READY, Presence.BROKEN}
        readable = found.registration is None or is_readable(found.registration)
        if not readable and not examined:
            return WorkspaceState(found.presence, found.detail)  # git fails in the whole repository until it is mended
        refs = read_instance_refs(place.git, names, ref.branch)
        # A deep look answers, whatever state the registration is in: who asks for one saves until all is saved.
        unsaved = snapshot.examine(place, ref, found.record, refs).unsaved if examined else Unsaved.UNEXAMINED
        if not readable:
            return WorkspaceState(found.presence, found.detail, unsaved=unsaved)
        base = refs.base or (found.record.base_commit if found.record is not None else None)
        deleted = found.presence is Presence.READY and refs.head is None and refs.base is not None
        return WorkspaceState(
            presence=found.presence,
            detail=creation.branch_deleted(ref, refs).message if deleted else found.detail,
            branch_deleted=deleted,
            head=refs.head,
            base_commit=base,
            ahead=count_between(place.git, base, refs.head) if base and refs.head else 0,
            diverged=not deleted and _diverged(place.git, ref, refs),
            unsaved=unsaved,
            snapshot=refs.snapshot,
        )

    def _check(self, ref: WorkspaceRef) -> None:
        creation.check_ref(ref)
        if not Path(ref.private).is_relative_to(self._state_dir / "instances"):
            raise Terminal("InvalidWorkspace", f"private {ref.private!r} does not lie below {self._state_dir}")


def _diverged(git: Git, ref: WorkspaceRef, refs: InstanceRefs) -> bool:
    theirs = refs.home.get(f"heads/{ref.branch}")
    return collect.decide(refs.head, refs.brought, theirs, lambda old, new: is_ancestor(git, old, new)).diverged


@contextmanager
def _explained(*, acting: bool = False) -> Iterator[None]:
    """Turn what the file system answered into a word of the loop.

    A look that was refused knows nothing; an act that was refused will be until a person changes something.
    """
    try:
        yield
    except OSError as error:
        place = f"{error.filename!r}: " if error.filename is not None else ""
        message = f"{place}{error.strerror}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Retryable("DiskFull", f"{message}: free some space", delay=30.0) from error
        if acting and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise Terminal(
                "PermissionDenied",
                f"{message}: let the controller's user (uid {os.geteuid()}) write there, or run it as root",
            ) from error
        raise Unavailable("LookFailed", message) from error
