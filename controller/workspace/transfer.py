"""Carrying what the agent's refs and reflogs reach into the user's repository, so that it can be named there.

It is packed in the quarantine, checked there, unpacked in the repository as its owner and proved to be complete.
A pack that git refuses never reaches the repository. Where objects are missing, what misses none comes all the same.
All of it has one deadline, and git no more memory than is said here: both are the agent's to use up otherwise.
"""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from controller.errors import Retryable, Terminal

from . import private, quarantine
from .agent_refs import AgentRefs, is_commit_ref
from .git import LONG, SLOWEST, GitFailed, GitOutOfMemory, GitTimedOut
from .quarantine import THREADS, Quarantine
from .record import StatePaths
from .refs import InstanceRefs, kinds, revisions
from .repository import Repository
from .safe_files import TooLargeError, read_text, remove_tree
from .types import WorkspaceRef

COMMITS_DAMAGED = "CommitsDamaged"
SEARCH_SECONDS = 300.0
"""Of looking for what is whole among refs and reflogs of which some miss objects."""

_UNPACK_BELOW = 100
"""Objects that are unpacked to loose ones instead of kept as a pack, as git itself does on a fetch."""
_MAX_SHALLOW = 64 << 20
_REMEMBERED = 10_000

# Structure is checked strictly; oddities that real histories carry (an agent may merge one) are not.
_TOLERATED = (
    "badDate badDateOverflow badEmail badName badTimezone missingEmail missingNameBeforeEmail missingSpaceBeforeDate "
    "missingSpaceBeforeEmail multipleAuthors zeroPaddedDate zeroPaddedFilemode badFilemode nulInCommit "
    "missingTaggerEntry"
)
_STRICT = "--strict=" + ",".join(f"{name}=ignore" for name in _TOLERATED.split())


@dataclass(frozen=True, slots=True)
class Brought:
    """What has been carried into the user's repository and waits for names.

    Attributes:
        home: refs below the attempt's prefix.
        logged: commits that only reflogs remember.
        left: refs that were not brought.
        problem: what to tell once the rest is named; ``None`` = nothing that could be brought is left.
    """

    home: Mapping[str, str]
    logged: frozenset[str]
    left: frozenset[str] = frozenset()
    problem: Terminal | None = None


def transfer(
    repository: Repository, ref: WorkspaceRef, now: InstanceRefs, agent: AgentRefs, *, sha256: bool
) -> Brought:
    """Bring the objects, so that they can be named; repeatable.

    Raises:
        Terminal: ``CommitsDamaged``, ``TooMuchWork``.
        Retryable: ``GitTimeout``, ``GitFailed``, ``DiskFull``.
    """
    _refused.check(ref, agent)
    try:
        brought = _Transfer(repository, ref, sha256=sha256).run(now, agent)
    except GitOutOfMemory as error:
        problem = Terminal(
            "TooMuchWork",
            f"commits of instance {ref.instance!r} cannot be brought home, they stay in {ref.private}: "
            f"{error.message}. Ask it to remove folders with very many files from them",
        )
        _refused.put(ref, agent, problem)
        raise problem from error
    except _RefusedError as error:
        problem = _damaged(ref, str(error))
        _refused.put(ref, agent, problem)
        raise problem from error
    # What is only missing may be there again at any time, without a ref that changes.
    if brought.problem is not None and brought.problem.reason == "TooMuchWork":
        _refused.put(ref, agent, brought.problem)
    return brought


class _RefusedError(Exception):
    """Git does not take the objects, whenever it is asked."""


class _Refusals:
    """What was refused for what it is, so that it is not packed again at every pass, until the refs change.

    It is tried again after a while all the same: the repository may have what was wrong by then.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[str, float, Terminal]] = OrderedDict()

    def check(self, ref: WorkspaceRef, agent: AgentRefs) -> None:
        """Raise again what these refs were refused with."""
        mark, until, problem = self._known.get((ref.private, ref.uid), ("", 0.0, None))
        if problem is not None and mark == agent.fingerprint() and time.monotonic() < until:
            raise Terminal(problem.reason, problem.message)

    def put(self, ref: WorkspaceRef, agent: AgentRefs, problem: Terminal) -> None:
        """Remember one for each instance; the caller holds its lock."""
        until = time.monotonic() + quarantine.RETRY_SECONDS
        self._known[ref.private, ref.uid] = (agent.fingerprint(), until, problem)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


_refused = _Refusals()


class _Transfer:
    """One transfer."""

    def __init__(self, repository: Repository, ref: WorkspaceRef, *, sha256: bool) -> None:
        self._ref = ref
        self._paths = StatePaths.of(ref)
        self._objects = repository.objects
        self._shallow = read_text(os.path.join(repository.git_dir, "shallow"), limit=_MAX_SHALLOW)
        self._quarantine = Quarantine(self._paths.quarantine, repository.objects, shallow=self._shallow, sha256=sha256)
        self._git = replace(repository.git, memory=quarantine.MAX_MEMORY)
        self._deadline = math.inf

    def run(self, now: InstanceRefs, agent: AgentRefs) -> Brought:
        self._quarantine.mirror(self._ref.private)
        # Compressing and unpacking take as long as there are bytes, everything else some minutes at most.
        self._deadline = time.monotonic() + LONG + 2 * self._quarantine.size() / SLOWEST
        seed = private.read_seed(self._paths)
        own = f"heads/{self._ref.branch}"
        wanted = {name: value for name, value in agent.refs.items() if seed.get(name) != value or name == own}
        known = {value for value in (now.head, now.base, now.brought, *now.home.values()) if value is not None}
        seen = {*wanted.values(), *agent.logged, *known}
        there = kinds(self._quarantine.git, seen, timeout=self._left())
        home = {
            name: value
            for name, value in wanted.items()
            if there.get(value) == "commit" or (value in there and not is_commit_ref(name))
        }
        logged = frozenset(value for value in agent.logged if there.get(value) == "commit")
        brought = self._bring(home, logged, known & set(there))
        left = frozenset(set(wanted) - set(brought.home))
        problem = brought.problem or (self._missing(left) if left else None)
        return replace(brought, left=left, problem=problem)

    def _bring(self, home: dict[str, str], logged: frozenset[str], known: set[str]) -> Brought:
        """Carry the objects; where some are missing, of those refs and logged commits that miss none."""
        problem: Terminal | None = None
        try:
            pack = self._pack({*home.values(), *logged}, known)
        except GitOutOfMemory:
            raise
        except GitFailed:
            # Refs first: a commit that only a reflog remembers may have lost its files.
            whole, problem = self._whole(set(home.values()), logged, known)
            problem = problem or self._quarantine.too_large
            home = {name: value for name, value in home.items() if value in whole}
            logged &= whole
            with self._told_as_damage():
                pack = self._pack({*home.values(), *logged}, known)
        if pack is not None:
            self._check(pack)
            self._unpack(pack)
        self._check_complete({*home.values(), *logged})
        return Brought(home, logged, problem=problem)

    @contextmanager
    def _told_as_damage(self) -> Iterator[None]:
        """Tell git's no as damage of the instance's commits; want of memory is told as what it is."""
        try:
            yield
        except GitOutOfMemory:
            raise
        except GitFailed as error:
            raise _damaged(self._ref, error.message) from error

    def _left(self) -> float:
        """Return the seconds that are left, for one command."""
        return max(1.0, self._deadline - time.monotonic())

    def _pack(self, tips: set[str], known: set[str]) -> str | None:
        """Pack what the tips need and the user's repository has not; ``None`` when that is nothing."""
        folder = os.path.join(self._quarantine.path, "outgoing")
        remove_tree(folder)
        os.mkdir(folder, 0o700)
        arguments = ("-q", "--revs", "--local", "--non-empty", "--delta-base-offset", os.path.join(folder, "pack"))
        git, stdin = self._quarantine.git, revisions(tips, known)
        name = git.run("pack-objects", f"--threads={THREADS}", *arguments, stdin=stdin, timeout=self._left()).text
        return os.path.join(folder, f"pack-{name}.pack") if name else None

    def _whole(self, tips: set[str], logged: Iterable[str], known: set[str]) -> tuple[set[str], Terminal | None]:
        """Return the commits that miss nothing, and what to tell where there was no time to look at all of them."""
        whole = set(known)
        until = min(time.monotonic() + SEARCH_SECONDS, self._deadline)
        try:
            _sift(sorted(tips - whole), whole, self._misses_nothing, until)
            _sift(sorted(set(logged) - whole), whole, self._misses_nothing, until)
        except GitTimedOut:
            return whole, Terminal(
                "TooMuchWork",
                f"so many commits of instance {self._ref.instance!r} miss objects that {SEARCH_SECONDS:g} s do not "
                f"tell which; those not brought home stay in {self._ref.private}. Ask it to check them with "
                "'git fsck', to remove what that names, and to shorten its reflogs "
                "('git reflog expire --stale-fix --all')",
            )
        return whole, None

    def _misses_nothing(self, tips: Sequence[str], whole: Collection[str], timeout: float) -> bool:
        command = ("rev-list", "--objects", "--quiet", "--stdin")
        stdin = revisions(tips, whole)
        return self._quarantine.git.run(*command, stdin=stdin, accept=range(256), timeout=timeout).status == 0

    def _missing(self, left: Iterable[str]) -> Terminal:
        problem = f"objects of {', '.join(map(ascii, sorted(left)[:5]))} are missing"
        if not self._is_cut_off():
            return _damaged(self._ref, problem)
        return _damaged(
            self._ref,
            f"{problem}: history that was fetched with '--depth' is not all there",
            "Ask it to fetch the rest with 'git fetch --unshallow URL', or to delete them",
        )

    def _is_cut_off(self) -> bool:
        """Tell whether the agent has fetched histories without their beginnings."""
        try:
            theirs = read_text(os.path.join(self._ref.private, "shallow"), limit=_MAX_SHALLOW) or ""
        except TooLargeError:
            return True
        except OSError:
            return False
        return not set(theirs.split()) <= set((self._shallow or "").split())

    def _check(self, pack: str) -> None:
        """Let git look at every object before the user's repository is touched: what dies there leaves its files."""
        with self._told_as_damage():
            try:
                self._quarantine.git.run("index-pack", _STRICT, f"--threads={THREADS}", pack, timeout=self._left())
            except GitFailed as error:
                if "fsck error" in error.stderr:
                    raise _RefusedError(error.message) from error
                raise

    def _unpack(self, pack: str) -> None:
        """Put a pack's objects into the user's repository, as its owner; the pack is opened by us, he may not."""
        with open(pack, "rb", buffering=0) as stream:  # git reads from the descriptor, past any buffer of ours
            count = int.from_bytes(stream.read(12)[8:], "big")
            stream.seek(0)
            size = os.fstat(stream.fileno()).st_size
            room = os.statvfs(self._objects)
            if size > room.f_bavail * room.f_frsize:  # git would leave what it has written until there was none
                message = f"{self._objects} has no room for {size >> 20} MiB of the instance's commits: free some"
                raise Retryable("DiskFull", message, delay=30.0)
            threads = f"--threads={THREADS}"
            command = ("unpack-objects", "-q") if count < _UNPACK_BELOW else ("index-pack", threads, "--stdin")
            with self._told_as_damage():
                self._git.run(*command, stdin=stream, timeout=self._left())

    def _check_complete(self, tips: set[str]) -> None:
        """Make sure that everything the tips need is in the user's repository, as git does after a fetch."""
        # Without --single-worktree git also looks at all worktrees, and fails on one that is just being added.
        command = ("rev-list", "--objects", "--quiet", "--single-worktree", "--stdin")
        wanted = revisions(tips)
        try:
            self._git.run(*command, "--not", "--all", stdin=wanted, timeout=self._left())
        except GitFailed:
            # A damaged branch of the user's fails that as well, and is not the instance's. The whole way back has no
            # need of other refs, and takes long.
            with self._told_as_damage():
                self._git.run(*command, stdin=wanted, timeout=self._left())


def _sift(
    tips: Sequence[str],
    whole: set[str],
    is_whole: Callable[[Sequence[str], Collection[str], float], bool],
    until: float,
) -> None:
    """Add those commits to ``whole`` that miss nothing; what fails is halved, so few broken ones take few processes.

    Args:
        tips: to look at.
        whole: those known to miss nothing.
        is_whole: ``is_whole(some, whole, seconds)`` tells whether none of some misses anything beyond what is whole.
        until: monotonic time.

    Raises:
        GitTimedOut: by then it was not known of all; those found are in ``whole``.
    """
    waiting = [tips] if tips else []
    while waiting:
        some = waiting.pop()
        left = until - time.monotonic()
        if left <= 0:
            raise GitTimedOut(f"{sum(map(len, waiting), len(some))} commits were not looked at in time")
        if is_whole(some, whole, left):
            whole.update(some)
        elif len(some) > 1:
            half = len(some) // 2
            waiting += [some[half:], some[:half]]


def _damaged(
    ref: WorkspaceRef, problem: str, way_out: str = "Ask it to check them with 'git fsck' and to remove what that names"
) -> Terminal:
    return Terminal(
        COMMITS_DAMAGED,
        f"commits of instance {ref.instance!r} cannot be brought home, they stay in {ref.private}: {problem}. "
        f"{way_out}",
    )
