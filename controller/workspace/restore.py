"""Bringing a snapshot back: as a branch, into a new worktree, or into the worktree of an instance that rests.

The snapshot itself always stays. ``changes.py`` has the rules by which files are written; here is where they are
written, and what has to be true of that place.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from controller.errors import Conflict, Terminal

from . import record, refs, snapshot, worktree
from .changes import Verdict, carry_out, judge, stage
from .creation import check_name_free, is_branch_name
from .git import LONG, GitFailed
from .locks import folder_lock
from .names import RefNames
from .presence import look
from .record import StatePaths
from .refs import Move
from .repository import Repository, filters_off, locate, read_config
from .safe_files import open_directory, remove_tree
from .saved import find_saved
from .scan import Tree, read_tree
from .types import Presence, Restored, RestoreTarget, SavedWork, ToBranch, ToFolder, ToWorkspace, WorkspaceRef

logger = logging.getLogger(__name__)

_TOLD = 10


def restore(path: str, identity: str, instance: str | None, target: RestoreTarget) -> Restored:
    """Bring a snapshot back; see :meth:`~controller.workspace.types.Workspaces.restore_snapshot`."""
    repository = locate(path)
    work = find_saved(path, identity, instance)
    match target:
        case ToBranch():
            done = _to_branch(repository, work, target.name or default_branch(work))
        case ToFolder():
            done = _to_folder(repository, work, target.path)
        case ToWorkspace():
            done = _to_workspace(repository, work, target.ref)
    where = done.branch or done.path
    logger.info(
        "snapshot was restored",
        extra={"cco_instance": work.instance, "cco_commit": work.commit, "cco_to": where, "cco_files": done.files},
    )
    return done


def default_branch(work: SavedWork) -> str:
    """Return the branch a snapshot is restored to when none is named."""
    return f"restore/{work.instance}-{work.taken_at:%Y%m%dT%H%M%SZ}"


def _to_branch(repository: Repository, work: SavedWork, name: str) -> Restored:
    if not is_branch_name(name):
        raise Terminal("InvalidBranch", f"branch {name!r} is no name git accepts: write for example 'restore/web'")
    check_name_free(repository.git, name)
    if not refs.move(repository.git, [Move(f"refs/heads/{name}", work.commit, None)]):
        raise Terminal(
            "BranchExists", f"branch {name!r} exists already and is left as it is: name another one with --branch"
        )
    return Restored(work.commit, branch=name, files=work.files)


def _to_folder(repository: Repository, work: SavedWork, path: str) -> Restored:
    _check_place(repository, path)
    start = work.base or work.commit
    with folder_lock(repository.git_dir) as lock_fd:
        registration = _add(repository, path, start, lock_fd)
    try:
        git = repository.git.at(registration.admin, path).with_env(filters_off(read_config(repository)))
        git.run("read-tree", "--reset", "-u", "--end-of-options", start, timeout=LONG)
        base = read_tree(repository.git, start)
        saved = read_tree(repository.git, work.commit)
        with open_directory(path) as root:
            verdict = judge(root, base, saved, base)
            _refuse_conflicts(verdict, path)
            _write(
                repository,
                root,
                verdict,
                _Place(os.path.join(path, f".cco-restore-{work.commit[:12]}"), repository.owner),
            )
    except BaseException:
        with folder_lock(repository.git_dir):  # it was made a moment ago, and by us
            remove_tree(path)
            worktree.unregister(repository, registration)
        raise
    return Restored(work.commit, path=path, files=len(verdict.steps), skipped=verdict.skipped)


def _check_place(repository: Repository, path: str) -> None:
    if not os.path.isabs(path) or os.path.normpath(path) != path or "\n" in path or "\0" in path:
        raise Terminal("InvalidPath", f"path {path!r} cannot be used: give an absolute path without '..'")
    place = os.path.realpath(path)
    if os.path.commonpath((place, repository.git_dir)) in {place, repository.git_dir}:
        raise Terminal(
            "InvalidPath", f"path {path!r} and the git directory {repository.git_dir!r} overlap: take another folder"
        )
    for other in worktree.registrations(repository):
        theirs = os.path.realpath(other.worktree or "/nowhere")
        ours = other.lock is not None and other.lock.startswith("cc-orchestrator ")
        if ours and os.path.commonpath((place, theirs)) == theirs:
            raise Terminal("InvalidPath", f"path {path!r} lies in the worktree of an instance: take another folder")
    if not worktree.is_unused(path):
        raise Conflict("PathOccupied", f"{path} exists already and is left as it is: name a folder that does not exist")


def _add(repository: Repository, path: str, commit: str, lock_fd: int) -> worktree.Registration:
    """Register a worktree without files; git makes the folders, with the rights of the repository's owner."""
    arguments = ("-q", "--no-checkout", "--detach", "--end-of-options", path, commit)
    try:
        repository.git.run("worktree", "add", *arguments, pass_fds=(lock_fd,))
    except GitFailed as error:
        if "Permission denied" in error.stderr or "Read-only file system" in error.stderr:
            raise Terminal(
                "PermissionDenied",
                f"{path}: the repository's owner (uid {repository.owner[0]}) may not make a folder there: name one "
                "where it may",
            ) from error
        raise
    for registration in worktree.registrations(repository):
        if worktree.same_place(registration.worktree, path):
            return registration
    raise GitFailed(f"git worktree add made nothing at {path}", "")


def _to_workspace(repository: Repository, work: SavedWork, ref: WorkspaceRef) -> Restored:
    paths = StatePaths.of(ref)
    memory = record.load_own(paths, ref)
    if memory is None:
        raise _not_ready(ref, "it has no worktree yet")
    with folder_lock(paths.directory):
        found = look(repository, ref)
        if found.presence is not Presence.READY:
            raise _not_ready(ref, found.detail or f"its worktree is {found.presence}")
        now = refs.read_instance_refs(repository.git, RefNames(ref.instance, ref.uid, ref.attempt), ref.branch)
        findings = snapshot.examine(repository, ref, memory, now)
        base: Tree = read_tree(repository.git, work.base) if work.base is not None else {}
        saved = read_tree(repository.git, work.commit)
        previous: str | None = None
        remove_tree(staging(ref))  # of one that was cut off
        with open_directory(ref.worktree) as root:
            verdict = judge(root, base, saved, findings.files)
            _refuse_conflicts(verdict, ref.worktree)
            if verdict.steps:
                message = f"cc-orchestrator: work of {ref.instance} (before snapshot {work.id} was restored over it)"
                previous = snapshot.save(repository, ref, findings, message)
                _write(repository, root, verdict, _Place(staging(ref), ref.owner))
    return Restored(
        work.commit, path=ref.worktree, files=len(verdict.steps), previous=previous, skipped=verdict.skipped
    )


def staging(ref: WorkspaceRef) -> str:
    """Return the folder beside the worktree in which content waits to be renamed into it."""
    return f"{ref.worktree}.restore-{ref.uid[:8]}"


def _not_ready(ref: WorkspaceRef, why: str) -> Terminal:
    return Terminal(
        "WorktreeNotReady",
        f"instance {ref.instance!r} cannot take the files: {why}. See 'cco why {ref.instance}', or restore to a branch "
        "or another folder",
    )


def _refuse_conflicts(verdict: Verdict, path: str) -> None:
    if not verdict.conflicts:
        return
    number = len(verdict.conflicts)
    shown = ", ".join(ascii(each)[1:-1] for each in verdict.conflicts[:_TOLD])
    more = f" and {number - _TOLD} more" if number > _TOLD else ""
    files = "1 file there is" if number == 1 else f"{number} files there are"
    raise Terminal(
        "RestoreConflict",
        f"{path}: {files} neither as the snapshot stood on nor as in the snapshot, so nothing was changed: "
        f"{shown}{more}. Restore to a branch and merge it, or to another folder",
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where files are written.

    Attributes:
        aside: a folder of ours on the same file system, for content that waits.
    """

    aside: str
    owner: tuple[int, int]


def _write(repository: Repository, root: int, verdict: Verdict, place: _Place) -> None:
    if not verdict.steps:
        return
    with _aside(place.aside) as aside:
        staged = stage(repository.git, aside, verdict.steps, place.owner)
        carry_out(root, aside, verdict.steps, staged, place.owner)


@contextmanager
def _aside(path: str) -> Iterator[int]:
    """Yield a new folder that only we can enter."""
    os.mkdir(path, 0o700)
    try:
        with open_directory(path) as folder:
            yield folder
    finally:
        remove_tree(path)
