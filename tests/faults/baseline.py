"""What was there before a fault: acknowledged specs, known work, and things that are not ours.

``verify --record FILE`` writes it, ``verify --baseline FILE`` compares. A test may add to it what it knows better
than any look: :meth:`Baseline.acknowledge` and :meth:`Baseline.remember_commit`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from .facts import INSTALLATION, LABEL, Facts, Repository, Row, git, git_dir_of


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An object that somebody was told is stored."""

    kind: str
    name: str
    uid: str
    generation: int
    deleting: bool
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """An uncommitted file of an instance: ``blob`` is git's name for its content."""

    repository: str
    instance: str
    worktree: str
    path: str
    blob: str


@dataclass(slots=True)
class Baseline:
    """See the module's docstring.

    Attributes:
        commits: repository to the commits that were ever seen in it or in a git directory of an instance.
        foreign: what is not ours, by a name that says what it is, to a digest of it.
    """

    acknowledged: list[Acknowledged] = field(default_factory=list)
    commits: dict[str, list[str]] = field(default_factory=dict)
    drafts: list[Draft] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)

    def acknowledge(self, row: Row) -> None:
        """Add, or replace by uid, what somebody was told is stored."""
        self.acknowledged = [each for each in self.acknowledged if each.uid != row.uid]
        made = Acknowledged(row.kind, row.name, row.uid, row.generation, row.deleting, dict(row.spec))
        self.acknowledged.append(made)

    def remember_commit(self, repository: str, commit: str) -> None:
        """Add a commit that must never be lost."""
        known = self.commits.setdefault(repository, [])
        if commit not in known:
            known.append(commit)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            [Acknowledged(**each) for each in raw["acknowledged"]],
            raw["commits"],
            [Draft(**each) for each in raw["drafts"]],
            raw["foreign"],
        )


def record(facts: Facts) -> Baseline:
    """Return the baseline of one look."""
    baseline = Baseline(foreign=foreign(facts))
    for row in facts.rows:
        baseline.acknowledge(row)
    for repository in facts.repositories:
        for commit in all_commits(git_dir_of(repository.path)):
            baseline.remember_commit(repository.path, commit)
    for row in facts.instances():
        workspace = row.status.get("workspace")
        repository_path = repository_of(facts, row)
        if workspace is None or repository_path is None or not Path(workspace["git_dir"]).is_dir():
            continue
        for commit in all_commits(workspace["git_dir"]):
            baseline.remember_commit(repository_path, commit)
        baseline.drafts += drafts(repository_path, row.name, workspace)
    return baseline


def repository_of(facts: Facts, row: Row) -> str | None:
    """Return the path of an instance's repository."""
    wanted = row.spec["repository"]
    return next((each.spec["path"] for each in facts.rows if (each.kind, each.name) == ("Repository", wanted)), None)


def all_commits(git_dir: str | Path) -> list[str]:
    """Return every commit a ref or a reflog of a git directory remembers."""
    return git(git_dir, "rev-list", "--all", "--reflog", "--single-worktree").split()


def drafts(repository: str, instance: str, workspace: Mapping[str, Any]) -> Iterable[Draft]:
    """Return the files that differ from the agent's commit, as the agent's own git sees them."""
    where = ("--work-tree=" + workspace["path"], "status", "--porcelain", "-z", "--untracked-files=all")
    if not Path(workspace["path"]).is_dir():
        return
    for entry in git(workspace["git_dir"], *where, "--no-renames").split("\0"):
        path = Path(workspace["path"]) / entry[3:]
        if entry and path.is_file() and not path.is_symlink():
            yield Draft(repository, instance, workspace["path"], entry[3:], blob(path.read_bytes()))


def blob(content: bytes) -> str:
    """Return the name git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def foreign(facts: Facts) -> dict[str, str]:
    """Return digests of what is not ours: on the engine, and in the users' repositories."""
    engine = facts.engine
    found = {
        f"container {each.id[:12]} {each.name}": each.digest
        for each in engine.containers
        if each.labels.get(INSTALLATION) != facts.installation
    }
    for kind, things in (("volume", engine.volumes), ("network", engine.networks)):
        mine = (each for each in things if not any(label.startswith(LABEL) for label in each.labels))
        found |= {f"{kind} {each.name}": each.digest for each in mine}
    for repository in facts.repositories:
        found |= _foreign_in(repository, {row.name for row in facts.instances()} | _branches(facts))
    return found


def _branches(facts: Facts) -> set[str]:
    return {row.spec.get("branch") or row.name for row in facts.instances()}


def _foreign_in(repository: Repository, branches: set[str]) -> dict[str, str]:
    """Return digests of a repository's other branches and worktrees, configuration, hooks and checked-out files."""
    place = git_dir_of(repository.path)
    about = f"of {repository.path}"
    found = {
        f"ref {name} {about}": commit
        for name, commit in repository.refs.items()
        if not name.startswith("refs/cco/") and name.removeprefix("refs/heads/") not in branches
    }
    for worktree in repository.worktrees:
        if not worktree.lock.startswith("cc-orchestrator "):
            found[f"worktree {worktree.path} {about}"] = worktree.branch
    watched = [place / "config", place / "HEAD", place / "description"]
    for folder in (place / "hooks", place / "info"):
        watched += sorted(folder.iterdir()) if folder.is_dir() else []
    if place.name == ".git":
        files = Path(repository.path).rglob("*")
        watched += sorted(each for each in files if ".git" not in each.relative_to(repository.path).parts)
    for path in watched:
        if path.is_file() and not path.is_symlink():
            found[f"file {path}"] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found
