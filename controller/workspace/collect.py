"""Bringing the agent's commits home, at any time, also while it works.

``agent_refs.py`` says what the agent has, ``quarantine.py`` takes its objects in, ``transfer.py`` carries what its
refs and reflogs reach into the user's repository; here it is named below ``refs/cco/``. Only then may the user's
branch move (``decide``). Nothing that once had a name ever loses all of them: values that go out of use are kept
under ``history/``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from controller.errors import Retryable

from . import record, refs, worktree
from .adoption import adopt
from .agent_refs import AgentRefs, is_commit_ref, read_refs
from .git import LONG, Git
from .locks import folder_lock
from .names import RefNames
from .record import Record, StatePaths
from .refs import InstanceRefs, Move
from .repository import Repository, locate
from .transfer import Brought, transfer
from .types import Collected, WorkspaceRef

logger = logging.getLogger(__name__)

_TRIES = 4


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to the user's branch: ``move_to`` a commit or stay; ``rewrite`` when that is not forward."""

    move_to: str | None = None
    rewrite: bool = False
    diverged: bool = False


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
        brought = transfer(repository, ref, now, agent, sha256=len(memory.base_commit) == 64)
        _name(repository, names, now, brought)
        now = refs.read_instance_refs(repository.git, names, ref.branch)
        if brought.problem is not None:  # what is whole is safe now; the rest must not pass for brought home
            _advance(repository, ref, now, memory)
            raise brought.problem
        memory = replace(memory, collected=mark)
        record.save(paths, memory)
    return _advance(repository, ref, now, memory)


NOTHING_NEW = 0
"""In the place of an attempt: all there is came from the repository."""


def fingerprint(agent: AgentRefs, attempt: int) -> str:
    """Return what :attr:`Record.collected` holds when all of it is at home under this attempt's refs."""
    return f"{attempt}:{agent.fingerprint()}"


def _name(repository: Repository, names: RefNames, now: InstanceRefs, brought: Brought) -> None:
    """Name what was brought, and under ``history/`` all that no other name of ours reaches any more.

    A ref that could not be brought keeps the value it was brought with last.
    """
    home = brought.home
    git = repository.git
    replaced = {name: value for name, value in now.home.items() if home.get(name) != value and name not in brought.left}
    odd = _no_commits(git, {value for name, value in replaced.items() if not is_commit_ref(name)})
    keep = odd | _unreached(git, names, (set(replaced.values()) - odd) | brought.logged, set(home.values()))
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


def retire(repository: Repository, ref: WorkspaceRef) -> None:
    """Move what earlier instances of this name have brought home to its history; repeatable.

    From then on what is below an attempt's prefix is this instance's. A branch must not follow what another one did,
    and a person may have deleted or reset it since.
    """
    names = RefNames(ref.instance, ref.uid, ref.attempt)
    found = refs.read(repository.git, below=[names.root])
    attempts = {name.removeprefix(names.root).partition("/")[0] for name in found}
    for attempt in sorted(int(each) for each in attempts if each.isdecimal()):
        theirs = replace(names, attempt=attempt)
        now = refs.read_instance_refs(repository.git, theirs, ref.branch)
        _name(repository, theirs, now, Brought({}, frozenset()))


def _no_commits(git: Git, values: set[str]) -> set[str]:
    """Return those of the objects that are no commits, so that no history can be seen to contain them."""
    return values - {value for value, kind in refs.kinds(git, values).items() if kind == "commit"}


def _unreached(git: Git, names: RefNames, candidates: set[str], reached: set[str]) -> set[str]:
    """Return those candidates that nothing in ``reached`` or in the history, nor another of them, contains."""
    if not candidates - reached:
        return set()
    kept = f"--glob={names.history('*')}"
    lines = git.run(
        "rev-list", "--parents", "--stdin", "--not", kept, stdin=refs.revisions(candidates, reached), timeout=LONG
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
