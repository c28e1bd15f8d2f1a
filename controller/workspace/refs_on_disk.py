"""Refs of a user's repository, read as the files they are: what a git process would say for a hundred times the cost.

Only what is beyond doubt is taken from here. A symbolic ref, a damaged one, or a repository that keeps its refs in
another way is git's to read (``refs.py`` asks it then). The layout: ``gitrepository-layout(5)``, ``git-pack-refs(1)``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from .safe_files import list_directory, open_directory, read_regular

_HASH = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_BRANCH = b"ref: refs/heads/"
_LARGEST = 256 << 20
"""Bytes of ``packed-refs``."""


class NotPlain(Exception):  # not an error: somebody else has to be asked
    """Only git can tell."""


def read_plain(git_dir: str, exact: Sequence[str], below: Sequence[str]) -> dict[str, str]:
    """Return refs by full name, sorted.

    Args:
        git_dir: the repository's own, not one of a worktree.
        exact: names; those that are not there are left out.
        below: folders of refs, each with its last ``/``; everything in them is returned.

    Raises:
        NotPlain: see there.
    """
    try:
        with open_directory(git_dir) as root:
            if not os.path.isdir(os.path.join(git_dir, "refs", "heads")):  # another format; it leaves a file there
                raise NotPlain
            # Loose ones first: git writes packed-refs before it removes the loose file.
            loose = {name: _value(root, name) for name in exact}
            for folder in below:
                loose.update((name, _value(root, name)) for name in _names(root, folder))
            found = _packed(root, frozenset(exact), tuple(below))
    except OSError as error:
        raise NotPlain from error
    found.update((name, value) for name, value in loose.items() if value is not None)
    return dict(sorted(found.items()))


def read_current_branch(git_dir: str) -> str | None:
    """Return the branch a repository is on, without ``refs/heads/``; ``None`` when HEAD is detached.

    Raises:
        NotPlain: see there.
    """
    try:
        with open_directory(git_dir) as root:
            head = (read_regular("HEAD", root, limit=4096) or b"").rstrip(b"\n")
    except OSError as error:
        raise NotPlain from error
    if _HASH.fullmatch(head):
        return None
    if not head.startswith(_BRANCH) or head.endswith(b"/.invalid"):  # what another format leaves for old programs
        raise NotPlain
    return os.fsdecode(head.removeprefix(_BRANCH))


def _value(root: int, name: str) -> str | None:
    """Return the value of a loose ref; ``None`` where there is none."""
    try:
        content = read_regular(name, root, limit=4096)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    if content is None:
        if _is_link(root, name):
            raise NotPlain
        return None
    value = content.rstrip()
    if not _HASH.fullmatch(value) or not value.strip(b"0"):
        raise NotPlain
    return value.decode()


def _is_link(root: int, name: str) -> bool:
    try:
        os.readlink(name, dir_fd=root)
    except OSError:
        return False
    return True


def _names(root: int, folder: str) -> Iterator[str]:
    """Yield the names of the loose refs below a folder."""
    try:
        with open_directory(folder, dir_fd=root) as inner:
            entries = list_directory(inner)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        name = f"{folder}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _names(root, f"{name}/")
        elif not name.endswith(".lock"):
            yield name


def _packed(root: int, exact: frozenset[str], below: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    content = read_regular("packed-refs", root, limit=_LARGEST) or b""
    for line in content.split(b"\n"):
        value, _, rest = line.partition(b" ")
        name = os.fsdecode(rest)
        if (name in exact or name.startswith(below)) and _HASH.fullmatch(value):
            found[name] = value.decode()
    return found
