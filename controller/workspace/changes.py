"""Writing a snapshot's files into a folder in which nothing may be lost: judge every path first, then change.

A path is changed only when what is there is what the snapshot stood on; one that differs from both is a conflict,
and with a single conflict nothing is changed. New content is written aside (``stage``) and renamed into place, so
neither a full disk nor a crash leaves half a file. The folder may belong to an agent: it is walked by open folders,
as ``safe_files.py`` says, and what is there is looked at again just before it is replaced.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

from controller.errors import Retryable, Terminal

from .git import Git
from .safe_files import list_directory, open_directory
from .scan import EXECUTABLE, LINK, MAX_DEPTH, SUBMODULE, Entry, Tree, read_entry

_CHUNK = 1 << 20
_NEW_FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Step:
    """One path to change.

    Attributes:
        there: what is there now and must still be when it is changed; ``None`` = nothing.
        wanted: what comes there; ``None`` = nothing.
    """

    path: str
    there: Entry | None
    wanted: Entry | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What restoring would do; ``conflicts`` are the paths that forbid it, ``skipped`` those that are no files."""

    steps: tuple[Step, ...]
    conflicts: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is at a path: a file or link, a folder, something else, or nothing because ``blocker`` is no folder."""

    entry: Entry | None = None
    folder: bool = False
    other: bool = False
    blocker: str | None = None


def judge(root: int, base: Tree, saved: Tree, known: Tree) -> Verdict:
    """Compare three ways, path by path; nothing is changed.

    Args:
        root: the open folder.
        base: files of the commit the snapshot stands on.
        saved: files of the snapshot.
        known: files of the folder as a scan tells them: a file that differs from what is stored by line ends alone
            counts as the stored one there.

    Raises:
        Terminal: ``SnapshotUnsafe``: a path in it leads out of the folder or into git's own files.
    """
    steps: list[Step] = []
    conflicts: list[str] = []
    skipped: list[str] = []
    sha256 = any(len(entry.oid) == 64 for entry in (*base.values(), *saved.values()))
    for path in sorted({*base, *saved}):
        before, after = base.get(path), saved.get(path)
        if before == after:
            continue
        _refuse_unsafe(path)
        if SUBMODULE in {entry.mode for entry in (before, after) if entry is not None}:
            skipped.append(path)
            if after is None or after.mode == SUBMODULE:
                continue
            before = None
        seen = _look(root, path, sha256=sha256)
        looks = {seen.entry}
        if path in known and (seen.entry is not None or known[path].path != path):
            looks.add(known[path])
        if after in looks or (after is None and seen.entry is None and not seen.other):
            continue
        if seen.other or before not in looks:
            conflicts.append(path)
        else:
            steps.append(Step(path, seen.entry, after))
    removed = {step.path for step in steps if step.wanted is None}
    new = [step.path for step in steps if step.wanted is not None and step.there is None]
    conflicts.extend(path for path in new if not _has_room(root, path, removed, sha256=sha256))
    return Verdict(tuple(steps), tuple(sorted(conflicts)), tuple(skipped))


def _refuse_unsafe(path: str) -> None:
    parts = path.split("/")
    if len(parts) > MAX_DEPTH + 1 or any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts):
        raise Terminal("SnapshotUnsafe", f"the snapshot has the path {path[:200]!a}, which is not written anywhere")


def _look(root: int, path: str, *, sha256: bool) -> _Seen:
    *parents, name = path.split("/")
    with ExitStack() as stack:
        folder = root
        for number, parent in enumerate(parents, 1):
            try:
                folder = stack.enter_context(open_directory(parent, dir_fd=folder))
            except FileNotFoundError:
                return _Seen()
            except NotADirectoryError:
                return _Seen(blocker="/".join(parents[:number]))
        try:
            mode = os.lstat(name, dir_fd=folder).st_mode
        except FileNotFoundError:
            return _Seen()
        if stat.S_ISDIR(mode):
            return _Seen(folder=True)
        entry = read_entry(folder, name, path, sha256=sha256, expected=None)
        return _Seen(entry=entry, other=entry is None)


def _has_room(root: int, path: str, removed: set[str], *, sha256: bool) -> bool:
    """Tell whether a file can come to a path where no file is, once the files to be removed are gone."""
    seen = _look(root, path, sha256=sha256)
    if seen.blocker is not None:
        return seen.blocker in removed
    if not seen.folder:
        return True
    with _opened(root, path.split("/")) as folder:
        return all(each in removed for each in _leaves(folder, f"{path}/"))


def _leaves(folder: int, prefix: str, depth: int = 0) -> Iterator[str]:
    """Yield everything below a folder that is no folder; one too deep to look into counts as a leaf."""
    for entry in list_directory(folder):
        if not entry.is_dir(follow_symlinks=False) or depth > MAX_DEPTH:
            yield prefix + entry.name
            continue
        with open_directory(entry.name, dir_fd=folder) as inner:
            yield from _leaves(inner, f"{prefix}{entry.name}/", depth + 1)


@contextmanager
def _opened(root: int, parents: Sequence[str]) -> Iterator[int]:
    with ExitStack() as stack:
        folder = root
        for parent in parents:
            folder = stack.enter_context(open_directory(parent, dir_fd=folder))
        yield folder


def stage(git: Git, aside: int, steps: Sequence[Step], owner: tuple[int, int]) -> Mapping[str, str]:
    """Write the new content into a folder nobody else can enter; returns the file's name there by path."""
    staged: dict[str, str] = {}
    with git.feed("cat-file", "--batch") as (ask, answers):
        for number, step in enumerate(each for each in steps if each.wanted is not None):
            name = str(number)
            if step.wanted is not None:
                ask.write(f"{step.wanted.oid}\n".encode())
                ask.flush()
                _stage(aside, name, step, answers, owner)
                staged[step.path] = name
    return staged


def _stage(aside: int, name: str, step: Step, answers: IO[bytes], owner: tuple[int, int]) -> None:
    head = answers.readline().split(b" ")
    if len(head) != 3 or head[1] != b"blob" or step.wanted is None:
        raise Terminal("SnapshotDamaged", f"the content of {step.path!a} is missing: 'git fsck' tells more")
    size = int(head[2])
    if step.wanted.mode == LINK:
        os.symlink(answers.read(size), name, dir_fd=aside)
        if os.geteuid() == 0:
            os.chown(name, *owner, dir_fd=aside, follow_symlinks=False)
    else:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=aside)
        with os.fdopen(fd, "wb") as stream:
            for length in _portions(size):
                stream.write(answers.read(length))
            os.fchmod(stream.fileno(), 0o755 if step.wanted.mode == EXECUTABLE else 0o644)
            if os.geteuid() == 0:
                os.fchown(stream.fileno(), *owner)
    answers.read(1)


def _portions(size: int) -> Iterator[int]:
    while size > 0:
        yield min(size, _CHUNK)
        size -= _CHUNK


def carry_out(root: int, aside: int, steps: Sequence[Step], staged: Mapping[str, str], owner: tuple[int, int]) -> None:
    """Remove and rename as judged: removals first, for a folder may become a file.

    Raises:
        Retryable: ``WorktreeChanging``: somebody was faster; what was done so far is as in the snapshot.
    """
    for step in steps:
        if step.wanted is None:
            _remove(root, step)
    for step in steps:
        if step.wanted is not None:
            _put(root, aside, staged[step.path], step, owner)


def _remove(root: int, step: Step) -> None:
    *parents, name = step.path.split("/")
    try:
        with _opened(root, parents) as folder:
            _check_unchanged(folder, name, step)
            os.unlink(name, dir_fd=folder)
        for depth in range(len(parents), 0, -1):  # git has no empty folders
            with _opened(root, parents[: depth - 1]) as folder:
                os.rmdir(parents[depth - 1], dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _changing(step.path) from error
    except OSError as error:
        if not _is_not_empty(error):
            raise


def _put(root: int, aside: int, staged: str, step: Step, owner: tuple[int, int]) -> None:
    *parents, name = step.path.split("/")
    with ExitStack() as stack:
        folder = root
        try:
            for parent in parents:
                folder = stack.enter_context(_entered(folder, parent, aside, owner))
            if step.there is None:
                _remove_empty(folder, name)
            _check_unchanged(folder, name, step)
            os.rename(staged, name, src_dir_fd=aside, dst_dir_fd=folder)
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError) or _is_not_empty(error):
                raise _changing(step.path) from error
            raise


@contextmanager
def _entered(folder: int, name: str, aside: int, owner: tuple[int, int]) -> Iterator[int]:
    """Yield a folder in an open one; a missing one is made aside, so that it belongs to its owner from the first."""
    with ExitStack() as stack:
        try:
            inner = stack.enter_context(open_directory(name, dir_fd=folder))
        except FileNotFoundError:
            os.mkdir(_NEW_FOLDER, 0o700, dir_fd=aside)
            inner = stack.enter_context(open_directory(_NEW_FOLDER, dir_fd=aside))
            os.fchmod(inner, 0o755)
            if os.geteuid() == 0:
                os.fchown(inner, *owner)
            os.rename(_NEW_FOLDER, name, src_dir_fd=aside, dst_dir_fd=folder)
        yield inner


def _remove_empty(folder: int, name: str) -> None:
    """Remove a folder in which there are only empty folders; anything else there is left for the check."""
    try:
        with open_directory(name, dir_fd=folder) as inner:
            for entry in list_directory(inner):
                if entry.is_dir(follow_symlinks=False):
                    _remove_empty(inner, entry.name)
        os.rmdir(name, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if not _is_not_empty(error):
            raise


def _check_unchanged(folder: int, name: str, step: Step) -> None:
    try:
        mode = os.lstat(name, dir_fd=folder).st_mode
    except FileNotFoundError:
        if step.there is None:
            return
        raise
    size = len((step.there or step.wanted or Entry("", "")).oid)
    there = (
        None
        if stat.S_ISDIR(mode)
        else read_entry(folder, name, step.path, sha256=size == 64, expected=step.there.oid if step.there else None)
    )
    if there is None or there != step.there:
        raise _changing(step.path)


def _is_not_empty(error: OSError) -> bool:
    return error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY}


def _changing(path: str) -> Retryable:
    return Retryable(
        "WorktreeChanging", f"{path!a} changed while it was to be restored and was left alone: try again", delay=1.0
    )
