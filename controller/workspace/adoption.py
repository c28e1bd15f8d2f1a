"""Finding our memory of a workspace again where it was lost and only the worktree's lock still names its instance.

Without it nothing can be saved: ``collect.py`` and ``snapshot.py`` come here before they say that there is nothing,
``inventory.py`` for worktrees that belong to no instance any more.
"""

from __future__ import annotations

import logging

from . import record, refs
from .locks import folder_lock
from .names import RefNames, lock_reason
from .record import Record, StatePaths
from .repository import Repository
from .types import WorkspaceRef
from .worktree import registrations, same_place

logger = logging.getLogger(__name__)

_NO_COMMIT = "0" * 40


def adopt(repository: Repository, ref: WorkspaceRef) -> Record | None:
    """Return the memory, written anew if it was lost; ``None`` when no worktree in that place is locked in our name.

    Raises:
        Conflict: ``NotOurs``, the memory that is there is another instance's.
    """
    paths = StatePaths.of(ref)
    memory = record.load_own(paths, ref)
    if memory is not None:
        return memory
    ours = [each for each in registrations(repository) if each.lock == lock_reason(ref.instance, ref.uid)]
    if len(ours) != 1 or not same_place(ours[0].worktree, ref.worktree):
        return None
    paths.ensure()
    with folder_lock(paths.directory):
        memory = record.load_own(paths, ref)
        if memory is not None:
            return memory
        now = refs.read_instance_refs(repository.git, RefNames(ref.instance, ref.uid, ref.attempt), ref.branch)
        base = now.base or now.head or _NO_COMMIT
        made = Record(ref.uid, ref.repository, ref.branch, ref.worktree, base, admin=ours[0].id, complete=True)
        record.save(paths, made)
        logger.warning("memory of a workspace was written anew", extra={"cco_instance": ref.instance})
        return made
