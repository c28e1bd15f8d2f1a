"""Bringing the agent's commits home, at any time, also while it works.

``agent_refs.py`` says what the agent has, ``quarantine.py`` takes its objects in; here what is reachable from its
refs and reflogs is packed, unpacked into the user's repository as the repository's owner, checked for
completeness, and named below ``refs/cco/``. Only then may the user's branch move (``decide``). Nothing that
once had a name ever loses all of them: values that go out of use are kept under ``history/``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from controller.errors import Retryable, Terminal

from . import private, record, refs, worktree
from .adoption import adopt
from .agent_refs import AgentRefs, read_refs
from .git import LONG, SLOWEST, Git, GitFailed
from .locks import folder_lock
from .names import RefNames
from .quarantine import Quarantine
from .record import Record, StatePaths
from .refs import InstanceRefs, Move
from .repository import Repository, locate
from .safe_files import read_text, remove_tree
from .types import Collected, WorkspaceRef

logger = logging.getLogger(__name__)

COMMITS_DAMAGED = "CommitsDamaged"
_UNPACK_BELOW = 100
"""Objects that are unpacked to loose ones instead of kept as a pack, as git itself does on a fetch."""
_TRIES = 4

# Structure is checked strictly; oddities that real histories carry (an agent may merge one) are not.
_TOLERATED = (
    "badDate badDateOverflow badEmail badName badTimezone missingEmail missingNameBeforeEmail missingSpaceBeforeDate "
    "missingSpaceBeforeEmail multipleAuthors zeroPaddedDate zeroPaddedFilemode badFilemode nulInCommit "
    "missingTaggerEntry"
)
_STRICT = "--strict=" + ",".join(f"{name}=ignore" for name in _TOLERATED.split())


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to the user's branch: ``move_to`` a commit or stay; ``rewrite`` when that is not forward."""

    move_to: str | None = None
    rewrite: bool = False
    diverged: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """What has been carried into the user's repository and waits for names.

    Attributes:
        home: refs below the attempt's prefix.
        logged: commits that only reflogs remember.
        broken: refs whose objects the agent no longer has.
    """

    home: Mapping[str, str]
    logged: frozenset[str]
    broken: tuple[str, ...]


def decide(head: str | None, brought: str | None, theirs: str | None, contains: Callable[[str, str], bool]) -> Decision:
    """Decide about the user's branch; pure.

    Args:
        head: the branch now; ``None`` when a person deleted it.
        brought: the value we set last; where it still equals ``head``, no person has touched the branch.
        theirs: the agent's branch; ``None`` when it has none of that name.
        contains: ``contains(old, new)`` tells whether commit ``new`` has ``old`` in its history.
    """
    if theirs is None or theirs == head:
        return Decision()
    if head is None:
        return Decision(diverged=theirs != brought)
    if contains(head, theirs):
        return Decision(move_to=theirs)
    if head == brought:  # only the agent has worked here: its amend, rebase or reset is followed
        return Decision(move_to=theirs, rewrite=True)
    if theirs == brought or contains(theirs, head):  # only the person has
        return Decision()
    return Decision(diverged=True)


def collect(ref: WorkspaceRef) -> Collected:
    """Bring home what the agent committed; see :meth:`~controller.workspace.types.Workspaces.collect`."""
    repository = locate(ref.repository)
    paths = StatePaths.of(ref)
    if adopt(repository, ref) is None:
        names = RefNames(ref.instance, ref.uid, ref.attempt)
        return Collected(refs.read_instance_refs(repository.git, names, ref.branch).head, moved=False, diverged=False)
    with folder_lock(paths.directory):
        return collect_locked(repository, ref)


def collect_locked(repository: Repository, ref: WorkspaceRef) -> Collected:
    """Do the same for a caller who holds the instance's lock."""
    names = RefNames(ref.instance, ref.uid, ref.attempt)
    paths = StatePaths.of(ref)
    memory = record.load(paths)
    agent = read_refs(ref.private)
    now = refs.read_instance_refs(repository.git, names, ref.branch)
    if memory is None or agent is None:
        return Collected(now.head, moved=False, diverged=False)
    mark = fingerprint(agent, ref.attempt)
    if memory.collected not in {mark, fingerprint(agent, NOTHING_NEW)}:
        brought = _transfer(repository, ref, now, agent, sha256=len(memory.base_commit) == 64)
        _name(repository, names, now, brought)
        now = refs.read_instance_refs(repository.git, names, ref.branch)
        if brought.broken:  # what is whole is safe now; the rest must not pass for brought home
            _advance(repository, ref, now, memory)
            raise _damaged(ref, f"objects of {', '.join(map(ascii, brought.broken[:5]))} are missing")
        memory = replace(memory, collected=mark)
        record.save(paths, memory)
    return _advance(repository, ref, now, memory)


NOTHING_NEW = 0
"""In the place of an attempt: all there is came from the repository."""


def fingerprint(agent: AgentRefs, attempt: int) -> str:
    """Return what :attr:`Record.collected` holds when all of it is at home under this attempt's refs."""
    return f"{attempt}:{agent.fingerprint()}"


def _transfer(
    repository: Repository, ref: WorkspaceRef, now: InstanceRefs, agent: AgentRefs, *, sha256: bool
) -> Brought:
    """Bring the objects, so that they can be named."""
    paths = StatePaths.of(ref)
    shallow = read_text(os.path.join(repository.git_dir, "shallow"), limit=64 << 20)
    quarantine = Quarantine(paths.quarantine, repository.objects, shallow=shallow, sha256=sha256)
    quarantine.mirror(ref.private)
    seed = private.read_seed(paths)
    home = {
        name: value for name, value in agent.refs.items() if seed.get(name) != value or name == f"heads/{ref.branch}"
    }
    kinds = _kinds(quarantine.git, {*home.values(), *agent.logged})
    broken = [
        name
        for name, value in home.items()
        if value not in kinds or (kinds[value] != "commit" and not name.startswith("tags/"))
    ]
    for name in broken:
        del home[name]
    logged = frozenset(value for value in agent.logged if kinds.get(value) == "commit")
    known = {value for value in (now.head, now.base, now.brought, *now.home.values()) if value is not None}
    try:
        pack = _pack(quarantine, {*home.values(), *logged}, known)
    except GitFailed as failure:  # a commit that only a reflog remembers may have lost its files
        if quarantine.too_large is not None:
            raise quarantine.too_large from failure
        logged = _whole(quarantine, logged, known)
        try:
            pack = _pack(quarantine, {*home.values(), *logged}, known)
        except GitFailed as error:
            raise _damaged(ref, error.message) from error
    tips = {*home.values(), *logged}
    if pack is not None:
        _unpack(repository, ref, pack)
    _check_complete(repository, ref, tips)
    return Brought(home, logged, tuple(broken))


def _kinds(git: Git, values: set[str]) -> dict[str, str]:
    """Return the type of each object that is there."""
    if not values:
        return {}
    stdin = "".join(f"{value}\n" for value in sorted(values)).encode()
    lines = git.run("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=stdin).lines()
    return {value: kind for value, kind in (line.split(" ", 1) for line in lines) if kind != "missing"}


def _pack(quarantine: Quarantine, tips: set[str], known: set[str]) -> str | None:
    """Pack what the tips need and the user's repository has not; ``None`` when that is nothing."""
    folder = os.path.join(quarantine.path, "outgoing")
    remove_tree(folder)
    os.mkdir(folder, 0o700)
    arguments = ("-q", "--revs", "--local", "--non-empty", "--delta-base-offset", os.path.join(folder, "pack"))
    patience = LONG + quarantine.size() / SLOWEST
    name = quarantine.git.run("pack-objects", *arguments, stdin=_revisions(tips, known), timeout=patience).text
    return os.path.join(folder, f"pack-{name}.pack") if name else None


def _whole(quarantine: Quarantine, commits: Iterable[str], known: set[str]) -> frozenset[str]:
    """Return the commits that miss nothing; one git process for each, so only for when packing all has failed."""
    command = ("rev-list", "--objects", "--quiet", "--stdin")
    answers = {
        commit: quarantine.git.run(*command, stdin=_revisions([commit], known), accept=range(256), timeout=LONG)
        for commit in commits
    }
    return frozenset(commit for commit, answer in answers.items() if answer.status == 0)


def _unpack(repository: Repository, ref: WorkspaceRef, pack: str) -> None:
    """Put a pack's objects into the user's repository, as its owner; the pack is opened by us, the owner may not."""
    with open(pack, "rb", buffering=0) as stream:  # git reads from the descriptor, past any buffer of ours
        count = int.from_bytes(stream.read(12)[8:], "big")
        stream.seek(0)
        patience = LONG + os.fstat(stream.fileno()).st_size / SLOWEST
        command = ("unpack-objects", "-q") if count < _UNPACK_BELOW else ("index-pack", "--stdin")
        try:
            repository.git.run(*command, _STRICT, stdin=stream, timeout=patience)
        except GitFailed as error:
            raise _damaged(ref, error.message) from error


def _check_complete(repository: Repository, ref: WorkspaceRef, tips: set[str]) -> None:
    """Make sure that everything the tips need is in the user's repository, as git does after a fetch."""
    # Without --single-worktree git also looks at all worktrees, and fails on one that is just being added.
    command = ("rev-list", "--objects", "--quiet", "--single-worktree", "--stdin")
    wanted = _revisions(tips, ())
    try:
        repository.git.run(*command, "--not", "--all", stdin=wanted, timeout=LONG)
    except GitFailed:
        # A damaged branch of the user's fails that as well, and is not the instance's. The whole way back has no need
        # of other refs, and takes long.
        try:
            repository.git.run(*command, stdin=wanted, timeout=LONG)
        except GitFailed as error:
            raise _damaged(ref, error.message) from error


def _revisions(wanted: Iterable[str], unwanted: Iterable[str]) -> bytes:
    return "".join(f"{value}\n" for value in (*sorted(wanted), *(f"^{value}" for value in sorted(unwanted)))).encode()


def _damaged(ref: WorkspaceRef, problem: str) -> Terminal:
    return Terminal(
        COMMITS_DAMAGED,
        f"commits of instance {ref.instance!r} cannot be brought home, they stay in {ref.private}: {problem}. "
        "Ask it to check them with 'git fsck' and to remove what that names",
    )


def _name(repository: Repository, names: RefNames, now: InstanceRefs, brought: Brought) -> None:
    """Name what was brought, and under ``history/`` all that no other name of ours reaches any more.

    A ref that is broken in the instance keeps the value it was brought with last.
    """
    home = brought.home
    git = repository.git
    replaced = {
        name: value for name, value in now.home.items() if home.get(name) != value and name not in brought.broken
    }
    tags = {value for name, value in replaced.items() if name.startswith("tags/")}
    keep = tags | _unreached(git, names, (set(replaced.values()) - tags) | brought.logged, set(home.values()))
    refs.force(git, [Move(names.history(value), value, refs.ANY) for value in sorted(keep)])
    # Deletions first and apart: git cannot store 'a/b' while 'a' is there.
    refs.force(git, [Move(names.home + name, None, value) for name, value in replaced.items() if name not in home])
    refs.force(
        git,
        [
            Move(names.home + name, value, now.home.get(name))
            for name, value in home.items()
            if now.home.get(name) != value
        ],
    )


def _unreached(git: Git, names: RefNames, candidates: set[str], reached: set[str]) -> set[str]:
    """Return those candidates that nothing in ``reached`` or in the history, nor another of them, contains."""
    if not candidates - reached:
        return set()
    kept = f"--glob={names.history('*')}"
    lines = git.run(
        "rev-list", "--parents", "--stdin", "--not", kept, stdin=_revisions(candidates, reached), timeout=LONG
    ).lines()
    parents: set[str] = set()
    listed: set[str] = set()
    for line in lines:
        commit, *others = line.split(" ")
        listed.add(commit)
        parents.update(others)
    return {value for value in candidates & listed if value not in parents}


def _advance(repository: Repository, ref: WorkspaceRef, now: InstanceRefs, memory: Record) -> Collected:
    """Move the user's branch as decided, by compare-and-swap, and let the worktree's index follow."""
    git = repository.git
    names = RefNames(ref.instance, ref.uid, ref.attempt)
    paths = StatePaths.of(ref)
    for _ in range(_TRIES):
        theirs = now.home.get(f"heads/{ref.branch}")
        decision = decide(now.head, now.brought, theirs, lambda old, new: refs.is_ancestor(git, old, new))
        if decision.move_to is None:
            if theirs is not None and theirs == now.head != now.brought:
                refs.move(git, [Move(names.brought, theirs, now.brought)])
            _follow(repository, ref, paths, memory, now.head)
            return Collected(now.head, moved=False, diverged=decision.diverged)
        moves = [
            Move(f"refs/heads/{ref.branch}", decision.move_to, now.head),
            Move(names.brought, decision.move_to, now.brought),
        ]
        if decision.rewrite and now.head is not None:
            moves.append(Move(names.history(now.head), now.head, refs.ANY))
        memory = replace(memory, index_behind=decision.move_to)
        record.save(paths, memory)
        if refs.move(git, moves):
            _follow(repository, ref, paths, memory, decision.move_to)
            logger.info(
                "branch was moved to the agent's commit",
                extra={"cco_instance": ref.instance, "cco_commit": decision.move_to, "cco_rewrite": decision.rewrite},
            )
            return Collected(decision.move_to, moved=True, diverged=False)
        now = refs.read_instance_refs(git, names, ref.branch)
    raise Retryable("BranchBusy", f"branch {ref.branch!r} kept changing while it was to be moved", delay=1.0)


def _follow(repository: Repository, ref: WorkspaceRef, paths: StatePaths, memory: Record, head: str | None) -> None:
    """Let the worktree's index follow a branch that we moved; a busy index is tried again by the next pass."""
    if memory.index_behind is None:
        return
    if memory.index_behind == head:
        registration = worktree.find_ours(worktree.registrations(repository), ref, memory)
        if registration is not None and not worktree.follow(repository, ref, registration.admin):
            return
    record.save(paths, replace(memory, index_behind=None))
