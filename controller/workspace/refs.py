"""Reading and moving refs of a user's repository; every move is a transaction with the values it expects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from controller.errors import Retryable

from .git import QUICK, Git, GitFailed
from .names import RefNames
from .refs_on_disk import NotPlain, read_current_branch, read_plain

ANY = ""
"""As an old value: whatever the ref has."""
_REFLOG_MESSAGE = "cc-orchestrator: brought home"


@dataclass(frozen=True, slots=True)
class InstanceRefs:
    """The refs that matter for one instance, read in one go.

    Attributes:
        head: the user's branch.
        base: where it started.
        brought: its value that we set last.
        pending: left by a snapshot that was cut off.
        home: what this attempt brought home, by name below its prefix (``heads/x``, ``HEAD``, ``stash``, ...).
        snapshots: name below the prefix to commit, oldest first.
    """

    head: str | None
    base: str | None
    brought: str | None
    pending: str | None
    home: Mapping[str, str]
    snapshots: Mapping[str, str]

    @property
    def snapshot(self) -> str | None:
        """The newest snapshot."""
        return next(reversed([*self.snapshots.values()]), None)


def read(git: Git, exact: Sequence[str] = (), below: Sequence[str] = ()) -> dict[str, str]:
    """Return refs with their values, by full name, sorted: those named, and all in the folders (``refs/tags/``)."""
    try:
        return read_plain(git.git_dir, exact, below)
    except NotPlain:
        named = frozenset(exact)
        out = git.run("for-each-ref", "--sort=refname", "--format=%(objectname) %(refname)", "--", *exact, *below)
        pairs = (line.partition(" ")[::2] for line in out.lines())
        return {name: value for value, name in pairs if name in named or name.startswith(tuple(below))}


def current_branch(git: Git) -> str | None:
    """Return the branch the repository itself is on; ``None`` when its HEAD is detached."""
    try:
        return read_current_branch(git.git_dir)
    except NotPlain:
        return git.run("symbolic-ref", "-q", "HEAD", accept=(0, 1)).text.removeprefix("refs/heads/") or None


def read_instance_refs(git: Git, names: RefNames, branch: str) -> InstanceRefs:
    """Return the instance's refs."""
    user = f"refs/heads/{branch}"
    found = read(git, (user, names.base, names.brought, names.pending), (names.home, names.snapshots))
    return InstanceRefs(
        head=found.get(user),
        base=found.get(names.base),
        brought=found.get(names.brought),
        pending=found.get(names.pending),
        home=_below(found, names.home),
        snapshots=_below(found, names.snapshots),
    )


def _below(found: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): commit for name, commit in found.items() if name.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class Move:
    """One ref to move.

    Attributes:
        new: the value it gets; ``None`` = it is deleted.
        old: the value it must have; ``None`` = it must not exist, :data:`ANY` = whatever it has.
    """

    name: str
    new: str | None
    old: str | None

    def command(self) -> str:
        """Return the line(s) for ``git update-ref --stdin -z``."""
        old = "0" * len(self.new or "") if self.old is None else self.old
        if self.new is None:
            return f"delete {self.name}\0{old}\0"
        return f"update {self.name}\0{self.new}\0{old}\0"


def move(git: Git, moves: Sequence[Move]) -> bool:
    """Make all moves or none; False when one of the refs no longer had the value expected."""
    if not moves:
        return True
    text = "".join(each.command() for each in moves)
    try:
        git.run("update-ref", "-m", _REFLOG_MESSAGE, "--stdin", "-z", stdin=text.encode(errors="surrogateescape"))
    except GitFailed as error:
        if "but expected" in error.stderr or "reference already exists" in error.stderr:
            return False
        raise
    return True


def force(git: Git, moves: Sequence[Move]) -> None:
    """Make all moves of refs that only we write; raises Retryable ``RefBusy`` when somebody else did."""
    if not move(git, moves):
        raise Retryable("RefBusy", f"{moves[0].name} was changed by somebody else at the same time", delay=1.0)


@lru_cache(maxsize=4096)
def _is_ancestor(git_dir: str, owner: tuple[int, int], ancestor: str, descendant: str) -> bool:
    git = Git(git_dir, owner)
    return git.run("merge-base", "--is-ancestor", "--end-of-options", ancestor, descendant, accept=(0, 1)).status == 0


def is_ancestor(git: Git, ancestor: str, descendant: str) -> bool:
    """Tell whether ``descendant`` contains ``ancestor``; commits never change, so the answer is remembered."""
    return ancestor == descendant or _is_ancestor(git.git_dir, git.owner, ancestor, descendant)


@lru_cache(maxsize=4096)
def _count(git_dir: str, owner: tuple[int, int], base: str, head: str) -> int:
    return int(Git(git_dir, owner).run("rev-list", "--count", "--end-of-options", f"{base}..{head}").text)


def count_between(git: Git, base: str, head: str) -> int:
    """Return how many commits ``head`` has that ``base`` has not; remembered."""
    return 0 if base == head else _count(git.git_dir, git.owner, base, head)


def kinds(git: Git, values: Iterable[str], *, timeout: float = QUICK) -> dict[str, str]:
    """Return the type (``commit``, ``tree``, ``blob``, ``tag``) of each of these objects that is there."""
    stdin = revisions(values)
    if not stdin:
        return {}
    answer = git.run("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=stdin, timeout=timeout)
    pairs = (line.split(" ", 1) for line in answer.lines())
    return {value: kind for value, kind in pairs if kind != "missing"}


def revisions(wanted: Iterable[str], unwanted: Iterable[str] = ()) -> bytes:
    """Return what git's ``--stdin`` and ``--revs`` read: objects, and those that count with all they need as there."""
    return "".join(f"{value}\n" for value in (*sorted(wanted), *(f"^{value}" for value in sorted(unwanted)))).encode()
