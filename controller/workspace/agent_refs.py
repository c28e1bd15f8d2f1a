"""What the refs and reflogs in a private git directory say, read without git.

The agent owns that directory: git run on it outside the container would follow its links, alternates and
configuration. So names and values are taken from regular files only, by open folders (``safe_files.py``), with
limits. ``collect.py`` compares them with what was brought home.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controller.errors import Terminal

from .names import is_ref_name
from .safe_files import TooLargeError, list_directory, open_directory, read_regular

MAX_REFS = 20_000
MAX_DEPTH = 32
MAX_TEXT = 64 << 20
"""Bytes of ``packed-refs`` or of one reflog."""

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PACKED = re.compile(r"([0-9a-f]{40}(?:[0-9a-f]{24})?) (\S.*)")
_WANTED = ("refs/heads/", "refs/tags/", "refs/notes/", "refs/stash")


@dataclass(frozen=True, slots=True)
class AgentRefs:
    """What the agent's refs say.

    Attributes:
        branch: the branch its HEAD is on; ``None`` when detached.
        refs: name without ``refs/`` (``heads/x``, ``tags/v1``, ``stash``) to object; ``HEAD`` only when detached.
        logged: everything a ref or HEAD ever pointed to, by the reflogs.
    """

    branch: str | None
    refs: Mapping[str, str]
    logged: frozenset[str] = field(default_factory=frozenset)

    @property
    def head(self) -> str | None:
        """The commit HEAD is on."""
        return self.refs.get("HEAD") if self.branch is None else self.refs.get(f"heads/{self.branch}")

    def fingerprint(self) -> str:
        """Return a value that changes whenever anything here does."""
        digest = hashlib.sha256(repr((self.branch, sorted(self.refs.items()), sorted(self.logged))).encode())
        return digest.hexdigest()


def read_refs(private: str) -> AgentRefs | None:
    """Return the agent's refs, or ``None`` when there is no private git directory.

    Raises:
        Terminal: ``TooManyRefs``, ``TooMuchWork``.
    """
    try:
        with open_directory(private) as root:
            return _read_refs(root)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except TooLargeError as error:
        raise Terminal(
            "TooMuchWork",
            f"{private} has a ref or log file of more than {MAX_TEXT >> 20} MiB: shorten it in the instance",
        ) from error


def _read_refs(root: int) -> AgentRefs:
    found: dict[str, str] = {}
    loose = dict(_files(root, "refs"))
    # Loose first: git writes packed-refs before it removes the loose file.
    for line in _text(read_regular("packed-refs", root, limit=MAX_TEXT)).split("\n"):
        match = _PACKED.fullmatch(line)
        if match is not None:
            _note(found, match[2], match[1])
    for name, content in loose.items():
        _note(found, name, content.strip())
    head = _text(read_regular("HEAD", root, limit=4096)).removesuffix("\n")
    branch = head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else None
    if branch is None and _HASH.fullmatch(head):
        found["HEAD"] = head
    logged: set[str] = set()
    for folder in ("logs", "worktrees"):
        for name, content in _files(root, folder):
            if folder == "logs" or "/logs/" in name:
                logged.update(_logged(content))
    return AgentRefs(branch, found, frozenset(logged))


def _note(found: dict[str, str], name: str, value: str) -> None:
    if name.startswith(_WANTED) and is_ref_name(name) and _HASH.fullmatch(value):
        found[name.removeprefix("refs/")] = value
        if len(found) > MAX_REFS:
            raise Terminal(
                "TooManyRefs", f"the instance has more than {MAX_REFS} branches and tags: delete some of them in it"
            )


def _logged(content: str) -> Iterator[str]:
    for line in content.split("\n"):
        for value in line.split(" ", 2)[:2]:
            if _HASH.fullmatch(value) and value.strip("0"):
                yield value


def _text(content: bytes | None) -> str:
    return os.fsdecode(content or b"")


def _files(parent: int, name: str, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield path and text of all regular files below a folder; links and absent folders are as nothing."""
    if depth > MAX_DEPTH:
        return
    try:
        with open_directory(name, dir_fd=parent) as folder:
            path = f"{prefix}{name}"
            for entry in list_directory(folder):
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(folder, entry.name, f"{path}/", depth + 1)
                elif not entry.name.endswith(".lock"):
                    content = read_regular(entry.name, folder, limit=MAX_TEXT)
                    if content is not None:
                        yield f"{path}/{entry.name}", os.fsdecode(content)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise  # refs that cannot be read are not gone, or what they name would pass for brought home
