"""Looking at snapshots: which there are, and what is in one. Only commits and trees are read, nothing is run.

``snapshot.py`` makes them, ``restore.py`` brings them back. Everything here asks git for objects by their names, so
that one damaged snapshot does not hide the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from controller.errors import NotFound, Terminal

from .git import LONG, Git
from .names import is_instance_name
from .repository import locate
from .types import MAX_CHANGES, MAX_DIFF, ChangeKind, SavedChange, SavedDetail, SavedWork

PREFIX = "refs/cco/snapshots/"
_ID = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-[0-9a-f]{12}")
_TIME = "%Y%m%dT%H%M%S.%fZ"
_TRAILER = re.compile(r"(Instance|Uid|Attempt|Branch): (.+)")
_MAX_COMMIT = 1 << 20
_KINDS = {"A": ChangeKind.ADDED, "M": ChangeKind.MODIFIED, "D": ChangeKind.DELETED, "R": ChangeKind.RENAMED}
_COMPARE = ("diff-tree", "-r", "--root", "--diff-merges=first-parent", "--no-ext-diff", "--no-textconv")


@dataclass(frozen=True, slots=True)
class _Commit:
    """What a commit object says."""

    parent: str | None
    text: str

    @property
    def subject(self) -> str:
        return " ".join(self.text.partition("\n\n")[0].split())

    @property
    def trailers(self) -> dict[str, str]:
        last = self.text.rstrip("\n").rpartition("\n\n")[2]
        found = (_TRAILER.fullmatch(line) for line in last.split("\n"))
        return {match[1]: match[2] for match in found if match is not None}


def list_saved(path: str, instance: str | None) -> tuple[SavedWork, ...]:
    """Return the snapshots; see :meth:`~controller.workspace.types.Workspaces.snapshots`."""
    git = locate(path).git
    found = list(_refs(git, instance))
    commits = _read_commits(git, [commit for _, _, commit in found])
    files = _count_files(git, list(commits))
    works = [
        _work(name, identity, commit, commits[commit], files.get(commit, 0))
        for name, identity, commit in found
        if commit in commits
    ]
    return tuple(sorted(works, key=lambda work: (work.taken_at, work.instance)))


def find_saved(path: str, identity: str, instance: str | None) -> SavedWork:
    """Return one snapshot; raises NotFound ``SnapshotNotFound``, Terminal ``SnapshotAmbiguous``."""
    git = locate(path).git
    found = [each for each in _refs(git, instance) if each[1] == identity]
    if len(found) > 1:
        names = ", ".join(sorted(name for name, _, _ in found))
        raise Terminal("SnapshotAmbiguous", f"instances {names} have a snapshot {identity}: name the instance")
    for name, _, commit in found:
        commits = _read_commits(git, [commit])
        if commit not in commits:
            raise Terminal(
                "SnapshotDamaged",
                f"the commit {commit} of snapshot {identity} is missing or damaged: 'git -C {path} fsck' tells more",
            )
        return _work(name, identity, commit, commits[commit], _count_files(git, [commit]).get(commit, 0))
    whose = f" of instance {instance!r}" if instance is not None else ""
    raise NotFound(
        "SnapshotNotFound", f"{path} has no snapshot {identity!r}{whose}: 'cco snapshots list' shows those there are"
    )


def show_saved(path: str, identity: str, instance: str | None, *, diff: bool) -> SavedDetail:
    """Return one with its files; see :meth:`~controller.workspace.types.Workspaces.show_snapshot`."""
    work = find_saved(path, identity, instance)
    git = locate(path).git
    changes = sorted(_changes(git, work.commit), key=lambda change: change.path)
    text, cut = _difference(git, work.commit) if diff else (None, False)
    return SavedDetail(
        work=work,
        text=_read_commits(git, [work.commit])[work.commit].text,
        changes=tuple(changes[:MAX_CHANGES]),
        insertions=sum(change.insertions or 0 for change in changes),
        deletions=sum(change.deletions or 0 for change in changes),
        diff=text,
        diff_cut=cut,
    )


def _refs(git: Git, instance: str | None) -> Iterator[tuple[str, str, str]]:
    """Yield instance, id and commit of each ref that is named as we name them; asks for no object."""
    if instance is not None and not is_instance_name(instance):
        return
    pattern = PREFIX if instance is None else f"{PREFIX}{instance}/"
    for line in git.run("for-each-ref", "--format=%(objectname) %(refname)", "--", pattern).lines():
        commit, _, name = line.partition(" ")
        owner, _, identity = name.removeprefix(PREFIX).partition("/")
        if is_instance_name(owner) and _ID.fullmatch(identity):
            yield owner, identity, commit


def taken_at(identity: str) -> datetime:
    """Return the time in a snapshot's id."""
    return datetime.strptime(identity.partition("-")[0], _TIME).replace(tzinfo=UTC)


def _work(name: str, identity: str, commit: str, found: _Commit, files: int) -> SavedWork:
    trailers = found.trailers
    return SavedWork(
        id=identity,
        instance=name,
        uid=trailers.get("Uid"),
        taken_at=taken_at(identity),
        commit=commit,
        base=found.parent,
        branch=trailers.get("Branch"),
        message=found.subject,
        files=files,
    )


def _read_commits(git: Git, names: Sequence[str]) -> dict[str, _Commit]:
    """Return those of the objects that are there and are commits of a reasonable size."""
    if not names:
        return {}
    asked = _lines(names)
    sizes = git.run("cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", stdin=asked).lines()
    fields = (line.split(" ") for line in sizes)
    wanted = [each[0] for each in fields if each[1:2] == ["commit"] and int(each[2]) <= _MAX_COMMIT]
    out = git.run("cat-file", "--batch", stdin=_lines(wanted)).out if wanted else b""
    commits: dict[str, _Commit] = {}
    position = 0
    while position < len(out):
        end = out.index(b"\n", position)
        name, kind, size = (*out[position:end].decode().split(" "), "0")[:3]
        body = out[end + 1 : end + 1 + int(size)]
        position = end + 1 + (int(size) + 1 if kind == "commit" else 0)
        if kind == "commit":
            commits[name] = _parse(body)
    return commits


def _parse(body: bytes) -> _Commit:
    head, _, text = body.partition(b"\n\n")
    parents = [line[7:].decode() for line in head.split(b"\n") if line.startswith(b"parent ")]
    return _Commit(parents[0] if parents else None, _readable(text).strip("\n"))


def _count_files(git: Git, commits: Sequence[str]) -> dict[str, int]:
    """Return how many files of each commit differ from its parent's; reads trees only."""
    if not commits:
        return {}
    out = git.run(*_COMPARE, "--stdin", "--name-only", "-z", stdin=_lines(commits), timeout=LONG).out
    counts: dict[str, int] = dict.fromkeys(commits, 0)
    asked = {commit.encode(): commit for commit in commits}
    current = ""
    for field in out.split(b"\0")[:-1]:
        # A commit's line stands before its paths, and no path is as long a hexadecimal number as one just asked for.
        if field in asked:
            current = asked.pop(field)
        elif current:
            counts[current] += 1
    return counts


def _changes(git: Git, commit: str) -> Iterator[SavedChange]:
    fields = git.run(
        *_COMPARE, "-M", "--no-commit-id", "--raw", "--numstat", "-z", "--end-of-options", commit, timeout=LONG
    ).fields()
    kinds: dict[str, str] = {}
    position = 0
    while position < len(fields):
        field = fields[position]
        if field.startswith(":"):
            letter = field.rpartition(" ")[2][:1]
            width = 3 if letter in "RC" else 2
            kinds[fields[position + width - 1]] = letter
        else:
            added, removed, path = field.split("\t", 2)
            width = 1 if path else 3
            old = None if path else fields[position + 1]
            path = path or fields[position + 2]
            yield SavedChange(
                kind=_KINDS.get(kinds.get(path, "T"), ChangeKind.RETYPED),
                path=_readable(os.fsencode(path)),
                old_path=None if old is None else _readable(os.fsencode(old)),
                insertions=None if added == "-" else int(added),
                deletions=None if removed == "-" else int(removed),
            )
        position += width


def _difference(git: Git, commit: str) -> tuple[str, bool]:
    """Return the difference as text and whether it was cut."""
    arguments = (*_COMPARE, "-M", "--no-commit-id", "-p", "--end-of-options", commit)
    said, whole = git.read(*arguments, limit=MAX_DIFF)
    return _readable(said if whole else said[: said.rfind(b"\n") + 1] or said), not whole


def _lines(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def _readable(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")
