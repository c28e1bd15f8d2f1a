"""Making a workspace: everything is checked before anything is made, and every step can be the last one done.

Order: our memory (whose it is), branch and base ref in one transaction, registration of the worktree (locked in
our name from its first moment), files, private git directory, and the mark that all of it is there.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.errors import Conflict, Terminal

from . import private, record, refs, worktree
from .agent_refs import read_refs
from .collect import NOTHING_NEW, collect_locked, fingerprint, retire
from .git import Git, GitFailed, check_version
from .locks import folder_lock
from .names import RefNames, is_instance_name, is_ref_name, is_uid
from .presence import Found, look
from .private import Seed
from .record import Record, StatePaths
from .refs import Move
from .repository import Repository, is_partial, locate, object_stores, read_config, require_complete
from .safe_files import is_folder, missing_above
from .snapshot import working_commit
from .transfer import COMMITS_DAMAGED
from .types import Presence, WorkspaceRef


@dataclass(frozen=True, slots=True)
class Start:
    """Where the branch is or will be.

    Attributes:
        commit: its base.
        head: its present value if it exists.
        config: the repository's, as it was when everything was checked.
    """

    commit: str
    head: str | None
    base_branch: str | None
    config: Mapping[str, str]


def check_ref(ref: WorkspaceRef) -> None:
    """Raise Terminal ``InvalidWorkspace`` for values that cannot be names, refs or paths."""
    problems = [
        (not is_instance_name(ref.instance), "instance", ref.instance, "use lower-case letters, digits and '-'"),
        (not is_uid(ref.uid), "uid", ref.uid, "use a UUID"),
        (not is_branch_name(ref.branch), "branch", ref.branch, "write for example 'feature/login'"),
        (
            ref.base_branch is not None and not is_branch_name(ref.base_branch),
            "base_branch",
            ref.base_branch,
            "write for example 'main'",
        ),
        *(
            (
                not os.path.isabs(path) or os.path.normpath(path) != path or "\n" in path or "\0" in path,
                field,
                path,
                "use an absolute path without '..'",
            )
            for field, path in (("worktree", ref.worktree), ("private", ref.private))
        ),
    ]
    for wrong, field, value, way_out in problems:
        if wrong:
            raise Terminal("InvalidWorkspace", f"{field} {value!r} cannot be used: {way_out}")


def is_branch_name(name: str) -> bool:
    """Tell whether git, and its command line, take the name for a branch."""
    return is_ref_name(name) and not name.startswith("-") and name != "HEAD"


def create(ref: WorkspaceRef) -> None:
    """Make or repair the workspace; see :meth:`~controller.workspace.types.Workspaces.create`."""
    check_version()
    repository = locate(ref.repository)
    paths = StatePaths.of(ref)
    _ensure_state(repository, ref, paths)
    with folder_lock(paths.directory) as instance_lock:
        found = look(repository, ref)
        if found.presence is Presence.READY:
            return
        found = _bring_home(repository, ref, found)
        start = _check(repository, ref, found)
        memory = _remember(paths, ref, found, start)
        with folder_lock(repository.git_dir) as lock_fd:
            _check_branch_free(repository, ref, found)
            _make_branch(repository, ref, start)
            memory, registration = _register(repository, ref, memory, found, lock_fd)
        saved, fresh = memory, not memory.complete
        _fill(repository, ref, registration.admin, start, instance_lock, memory)
        if _make_private(repository, ref, start, registration.admin, fresh=fresh) or fresh:
            memory = replace(memory, collected=_nothing_new(ref))
        memory = replace(memory, complete=True, refilling=False, admin=registration.id)
        if memory != saved:  # all is there already, so nobody would finish a write that is cut off here
            record.save(paths, memory)


def _bring_home(repository: Repository, ref: WorkspaceRef, found: Found) -> Found:
    """Bring home what was committed since the last time, before the files of a worktree that was whole are made again.

    They have to be those of the agent's commit: older ones would look like its own undoing of it.
    """
    if found.presence is not Presence.BROKEN or found.record is None or not found.record.complete:
        return found
    try:
        collect_locked(repository, ref)
    except Terminal:  # what failed for the moment only succeeds now; what is damaged does not, and stays where it is
        _rescue(repository, ref)
    return replace(found, record=record.load(StatePaths.of(ref)))


def _ensure_state(repository: Repository, ref: WorkspaceRef, paths: StatePaths) -> None:
    """Make the folder that carries the lock, but not for a workspace that will be refused."""
    if is_folder(paths.directory, follow=True):
        return
    try:
        _check(repository, ref, look(repository, ref))
    except Terminal:
        if not is_folder(paths.directory, follow=True):  # or somebody else is making it: what was seen is half of it
            raise
    paths.ensure()


def _check(repository: Repository, ref: WorkspaceRef, found: Found) -> Start:
    """Check everything that can be checked before the first change, and tell where the branch starts."""
    _refuse_foreign(ref, found)
    _refuse_overlap(repository, ref)
    if found.registration is not None:  # before its branch is missed: it is checked out where the worktree is now
        worktree.refuse_moved(ref, found.registration, wherever=True)
    config = read_config(repository)
    object_stores(repository)
    _check_objects_readable(repository, ref)
    start = _find_start(repository, ref, found.record, config)
    with folder_lock(repository.git_dir):  # a worktree that is being added makes git fail that looks at all of them
        if found.registration is not None and not worktree.is_readable(found.registration):
            worktree.mend(repository, ref, found.registration)  # so does one whose git was killed
        _check_branch_free(repository, ref, found)
    if is_partial(config):
        require_complete(repository, start.head or start.commit)
    return start


def _refuse_foreign(ref: WorkspaceRef, found: Found) -> None:
    if found.presence is Presence.FOREIGN:
        raise Conflict(
            "PathOccupied",
            f"{found.detail}: move it away or delete it yourself, or give the instance {ref.instance!r} another name",
        )


def _refuse_overlap(repository: Repository, ref: WorkspaceRef) -> None:
    """Refuse a worktree from which the agent could reach the repository's git directory, or that lies in it."""
    place = os.path.realpath(ref.worktree)
    if os.path.commonpath((place, repository.git_dir)) in {place, repository.git_dir}:
        raise Terminal(
            "InvalidWorkspace",
            f"worktree {ref.worktree!r} and the git directory {repository.git_dir!r} overlap: "
            "set worktree_base_path to a folder outside the repository",
        )


def _check_objects_readable(repository: Repository, ref: WorkspaceRef) -> None:
    info = os.stat(repository.objects)
    if ref.owner[0] in (0, info.st_uid) or info.st_mode & 0o005 == 0o005:
        return
    raise Terminal(
        "ObjectsNotReadable",
        f"uid {ref.owner[0]} of the instance may not read {repository.objects}: allow it with "
        f"'chmod -R o+rX {repository.objects}', or give the repository to a user with 'chown -R'",
    )


def _find_start(repository: Repository, ref: WorkspaceRef, memory: Record | None, config: Mapping[str, str]) -> Start:
    git = repository.git
    names = RefNames(ref.instance, ref.uid, ref.attempt)
    found = refs.read_instance_refs(git, names, ref.branch)
    base_branch = ref.base_branch or refs.current_branch(git)
    known = found.base or (memory.base_commit if memory is not None else None)
    if found.head is not None:
        return Start(known or found.head, found.head, base_branch, config)
    if found.base is not None:  # made in the transaction that made the branch: a person deleted it since
        raise branch_deleted(ref, found)
    if base_branch is None:
        raise Terminal(
            "DetachedHead",
            f"repository {ref.repository!r} is on no branch (detached HEAD) and base_branch is not set: "
            "set base_branch to the branch the work should start from",
        )
    commit = _resolve_base(git, ref, base_branch)
    check_name_free(git, ref.branch)
    return Start(commit, None, base_branch, config)


def branch_deleted(ref: WorkspaceRef, found: refs.InstanceRefs) -> Terminal:
    """Return the error for a branch of ours that a person deleted, with the command that brings it back."""
    kept = found.home.get(f"heads/{ref.branch}") or found.brought or found.base
    return Terminal(
        "BranchDeleted",
        f"branch {ref.branch!r} of instance {ref.instance!r} was deleted: bring it back with "
        f"'git branch {ref.branch} {kept}', or delete the instance",
    )


def _resolve_base(git: Git, ref: WorkspaceRef, base_branch: str) -> str:
    for name in (f"refs/heads/{base_branch}", f"refs/remotes/{base_branch}"):
        commit = git.run("rev-parse", "--verify", "-q", "--end-of-options", f"{name}^{{commit}}", accept=(0, 1, 128))
        if commit.status == 0:
            # 2.39 prints the option itself before the commit
            return commit.lines()[-1]
    branches = git.run("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/").lines()
    if not branches:
        raise Terminal(
            "EmptyRepository",
            f"repository {ref.repository!r} has no commit yet: make one, for example with "
            "'git commit --allow-empty -m Start'",
        )
    near = difflib.get_close_matches(base_branch, branches, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(branches)[:5])}"
    raise Terminal(
        "BaseBranchNotFound", f"base_branch {base_branch!r} does not exist in repository {ref.repository!r}: {hint}"
    )


def check_name_free(git: Git, branch: str) -> None:
    """Refuse a branch that git cannot store beside an existing one: ``a`` and ``a/b`` exclude each other."""
    parts = branch.split("/")
    parents = {"/".join(parts[:length]) for length in range(1, len(parts))}
    in_the_way = refs.read(git, [f"refs/heads/{name}" for name in parents], [f"refs/heads/{branch}/"])
    for name in in_the_way:
        other = name.removeprefix("refs/heads/")
        raise Terminal(
            "BranchNameTaken",
            f"branch {branch!r} cannot be made beside the existing branch {other!r}: choose another name",
        )


def _check_branch_free(repository: Repository, ref: WorkspaceRef, found: Found) -> None:
    """Refuse a branch that is checked out in the main worktree or in anybody else's."""
    pattern = f"refs/heads/{ref.branch}"
    for line in repository.git.run("for-each-ref", "--format=%(refname)%00%(worktreepath)", "--", pattern).lines():
        name, _, where = line.partition("\0")
        if name != pattern or not where:
            continue
        if found.registration is None or os.path.realpath(where) != os.path.realpath(ref.worktree):
            raise worktree.checked_out_elsewhere(ref, where)


def _remember(paths: StatePaths, ref: WorkspaceRef, found: Found, start: Start) -> Record:
    memory = found.record or Record(
        uid=ref.uid,
        repository=ref.repository,
        branch=ref.branch,
        worktree=ref.worktree,
        base_commit=start.commit,
        # A worktree of ours that we have forgotten was complete once: our memory is written first.
        complete=found.registration is not None,
        made=missing_above(ref.worktree),
    )
    record.save(paths, memory)
    return memory


def _make_branch(repository: Repository, ref: WorkspaceRef, start: Start) -> None:
    """Make the branch and the refs that say it is ours, all at once; an existing branch is only noted."""
    git = repository.git
    names = RefNames(ref.instance, ref.uid, ref.attempt)
    now = refs.read_instance_refs(git, names, ref.branch)
    if now.base is not None:
        return
    memory = record.load(StatePaths.of(ref))
    if memory is None or not memory.complete:  # otherwise only the ref is gone, and what came home is this instance's
        retire(repository, ref)
    moves = [Move(names.base, start.commit, None)]
    if now.head is None:
        moves += [Move(f"refs/heads/{ref.branch}", start.commit, None), Move(names.brought, start.commit, now.brought)]
    if not refs.move(git, moves):
        raise GitFailed(f"branch {ref.branch!r} was changed by somebody else at the same time", "")


def _register(
    repository: Repository, ref: WorkspaceRef, memory: Record, found: Found, lock_fd: int
) -> tuple[Record, worktree.Registration]:
    registration = found.registration
    if memory.complete and (not is_folder(ref.worktree) or worktree.is_empty(ref.worktree)):
        memory = replace(memory, refilling=True)
    if registration is not None:
        if memory.refilling:  # said before the folder is there: the index of before would say that it has all files
            record.save(StatePaths.of(ref), memory)
        worktree.mend(repository, ref, registration)
    else:
        registration = worktree.revive(repository, ref, memory) or worktree.add(repository, ref, lock_fd)
    memory = replace(memory, admin=registration.id)
    record.save(StatePaths.of(ref), memory)
    return memory, registration


def _fill(repository: Repository, ref: WorkspaceRef, admin: str, start: Start, lock_fd: int, memory: Record) -> None:
    """Write the files: those of the commit the agent is on if it is at home, otherwise those of the branch.

    Git writes the index when all files are there. Files in a worktree that was complete once are somebody's work
    and are never written over, unless all of them were gone and we did not finish writing them again.
    """
    fresh = not memory.complete
    has_index = worktree.has_index(admin)
    if not memory.refilling and not worktree.is_empty(ref.worktree):
        if has_index and fresh:
            worktree.give_away(repository, ref)
        elif not has_index and not fresh:
            worktree.make_index(repository, ref, admin)
        if has_index or not fresh:
            return
    now = refs.read_instance_refs(repository.git, RefNames(ref.instance, ref.uid, ref.attempt), ref.branch)
    commit = working_commit(read_refs(ref.private), now, ref.branch)
    tree = commit if commit != (start.head or start.commit) else None
    worktree.fill(repository, ref, admin, lock_fd, start.config, tree=tree)


def _make_private(repository: Repository, ref: WorkspaceRef, start: Start, admin: str, *, fresh: bool) -> bool:
    if private.exists(ref) and private.is_damaged(ref):
        if _rescue(repository, ref) and not private.may_hold_more(ref):
            private.discard(ref)
        else:
            private.set_aside(ref)
    wanted = private.seed_refs(repository, ref.branch, start.base_branch)
    index = os.path.join(admin, "index") if fresh else None
    return private.build(repository, ref, Seed(ref.branch, wanted, index))


def _rescue(repository: Repository, ref: WorkspaceRef) -> bool:
    """Bring home what is whole in a git directory that may have damaged parts; False when that is not all of it."""
    try:
        collect_locked(repository, ref)
    except Terminal as error:
        if error.reason != COMMITS_DAMAGED:
            raise
        return False
    return True


def _nothing_new(ref: WorkspaceRef) -> str | None:
    """Return the mark of a git directory that holds only what came from the repository."""
    agent = read_refs(ref.private)
    return None if agent is None else fingerprint(agent, NOTHING_NEW)
