"""Taking a workspace away once everything in it is saved; branch, snapshots and history stay.

Folders are renamed before they are emptied, so a removal that was cut off is never taken for a worktree whose
files somebody deleted. Our memory goes last: until then the next pass knows whose the rest is.
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import replace

from controller.errors import Conflict, Retryable

from . import private, record, refs, worktree
from .agent_refs import read_refs
from .locks import folder_lock
from .names import RefNames
from .presence import Found, look
from .record import Record, StatePaths
from .refs import InstanceRefs, Move
from .repository import Repository, locate
from .restore import staging
from .safe_files import chown_tree, is_folder, is_there, remove_tree
from .snapshot import examine, is_uncollected
from .types import Presence, Unsaved, WorkspaceRef

logger = logging.getLogger(__name__)


def remove(ref: WorkspaceRef, *, keep_worktree: bool, or_lose: bool = False) -> None:
    """Remove the workspace; see :meth:`~controller.workspace.types.Workspaces.remove`."""
    repository = locate(ref.repository)
    paths = StatePaths.of(ref)
    if _is_gone(ref, look(repository, ref)):
        return
    paths.ensure()
    with folder_lock(paths.directory):
        found = look(repository, ref)
        if _is_gone(ref, found):
            return
        names = RefNames(ref.instance, ref.uid, ref.attempt)
        now = refs.read_instance_refs(repository.git, names, ref.branch)
        if not or_lose:
            _refuse_unsaved(repository, ref, found.record, now, keep_worktree=keep_worktree)
        memory = found.record
        if keep_worktree:
            _hand_over(repository, ref, found)
        elif memory is not None or found.registration is not None:
            _remove_worktree(repository, ref, found, paths)
        private.remove(ref, or_lose=or_lose)
        remove_tree(paths.quarantine)
        _drop_refs(repository, names, now)
        record.forget(paths)
        logger.info("workspace was removed", extra={"cco_instance": ref.instance, "cco_kept": keep_worktree})


def _is_gone(ref: WorkspaceRef, found: Found) -> bool:
    if found.presence is Presence.FOREIGN:
        raise Conflict(
            "NotOurs", f"{found.detail}: it is left as it is, remove it or instance {ref.instance!r} by hand"
        )
    return found.presence is Presence.ABSENT


def _refuse_unsaved(
    repository: Repository, ref: WorkspaceRef, memory: Record | None, now: InstanceRefs, *, keep_worktree: bool
) -> None:
    private.refuse_unsaved(ref)
    if keep_worktree:
        unsaved = is_uncollected(memory, read_refs(ref.private))
    else:
        unsaved = examine(repository, ref, memory, now).unsaved is Unsaved.UNSAVED
    if unsaved:
        raise Retryable(
            "UnsavedWork", f"{ref.worktree} or its git directory holds work that is saved nowhere else", delay=1.0
        )


def _remove_worktree(repository: Repository, ref: WorkspaceRef, found: Found, paths: StatePaths) -> None:
    """Move the folder out of the way, forget the registration, then empty the folder."""
    if found.registration is not None:
        worktree.refuse_moved(ref, found.registration)
    remove_tree(staging(ref))
    aside = f"{ref.worktree}.removed-{ref.uid[:8]}"
    memory = found.record
    if is_folder(ref.worktree):
        if memory is not None and not memory.removing:
            record.save(paths, replace(memory, removing=True))
        if is_there(aside):
            if memory is None or not memory.removing:
                raise Conflict("PathOccupied", f"{aside} is in the way of removing {ref.worktree}: move it away")
            remove_tree(aside)
        _rename(ref.worktree, aside)
    with folder_lock(repository.git_dir):
        if found.registration is not None:
            worktree.unregister(repository, found.registration)
    if memory is None or memory.removing or is_folder(aside):
        remove_tree(aside)
    if memory is not None:
        worktree.remove_made(repository, ref, memory.made)


def _rename(path: str, aside: str) -> None:
    try:
        os.rename(path, aside)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise Retryable(
            "RemovalFailed", f"{path} is a mount point and stays as it is: unmount it with 'umount {path}'", delay=10.0
        ) from error


def _hand_over(repository: Repository, ref: WorkspaceRef, found: Found) -> None:
    """Leave folder and registration to the user: not locked in our name, and owned like the repository."""
    if found.registration is None:
        return
    worktree.refuse_moved(ref, found.registration)
    with folder_lock(repository.git_dir):
        if not is_folder(ref.worktree):
            worktree.unregister(repository, found.registration)
            return
        if found.registration.lock is not None:
            repository.git.run("worktree", "unlock", "--end-of-options", ref.worktree)
    if repository.owner != ref.owner:
        chown_tree(ref.worktree, repository.owner)


def _drop_refs(repository: Repository, names: RefNames, now: InstanceRefs) -> None:
    """Remove the refs that only a living instance needs; what they point to is also under other names."""
    gone = {names.base: now.base, names.brought: now.brought, names.pending: now.pending}
    refs.force(repository.git, [Move(name, None, value) for name, value in gone.items() if value is not None])
