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
from io import BytesIO

from controller.errors import Terminal

from .names import is_ref_name
from .safe_files import TooLargeError, list_directory, open_directory, read_regular

MAX_REFS = 20_000
MAX_REF = 4096
"""Bytes of one loose ref: git writes 41 or 65, or the name of another ref."""
MAX_ENTRIES = 200_000
"""Files and folders among refs and reflogs: ten for each ref there may be."""
MAX_LOGGED = 250_000
"""Different commits in all reflogs, which are never shortened: some 40 MiB of memory while they are compared."""
MAX_DEPTH = 32
MAX_TEXT = 64 << 20
"""Bytes of ``packed-refs`` and all reflogs together; a line takes some 200, so this is a third of a million."""

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

_HASH = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHORTEST = 40
_PACKED = re.compile(rb"([0-9a-f]{40}(?:[0-9a-f]{24})?) (\S.*)")
_BRANCH = b"ref: refs/heads/"
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
            return _Reader(private, root).run()
    except (FileNotFoundError, NotADirectoryError):
        return None


class _Reader:
    """One look. An agent may write any number of files of any size: what is kept of them is counted as it comes."""

    def __init__(self, private: str, root: int) -> None:
        self._private = private
        self._root = root
        self._entries = MAX_ENTRIES
        self._text = MAX_TEXT

    def run(self) -> AgentRefs:
        loose = self._loose()
        found: dict[str, str] = {}
        # Loose ones were first: git writes packed-refs before it removes the loose file.
        for line in self._lines("packed-refs", self._root, "packed-refs"):
            match = _PACKED.fullmatch(line)
            if match is not None and _is_wanted(name := os.fsdecode(match[2])):
                self._note(found, name, match[1])
        for name, value in loose.items():
            self._note(found, name, value.encode())
        head = self._read("HEAD", self._root, "HEAD", MAX_REF).removesuffix(b"\n")
        branch = os.fsdecode(head.removeprefix(_BRANCH)) if head.startswith(_BRANCH) else None
        if branch is None and _HASH.fullmatch(head):
            found["HEAD"] = head.decode()
        return AgentRefs(branch, {name.removeprefix("refs/"): value for name, value in found.items()}, self._logged())

    def _loose(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for path, folder, name in self._files(self._root, "refs"):
            if _is_wanted(path):
                self._note(found, path, self._read(name, folder, path, MAX_REF).strip())
        return found

    def _note(self, found: dict[str, str], name: str, value: bytes) -> None:
        if _HASH.fullmatch(value):
            found[name] = value.decode()
            if len(found) > MAX_REFS:
                raise self._too_many()

    def _logged(self) -> frozenset[str]:
        found: set[str] = set()
        for top in ("logs", "worktrees"):
            for path, folder, name in self._files(self._root, top):
                if top == "logs" or "/logs/" in path:
                    for line in self._lines(name, folder, path):
                        found.update(_values(line))
                        if len(found) > MAX_LOGGED:
                            raise Terminal(
                                "TooMuchWork",
                                f"the reflogs in {self._private} name more than {MAX_LOGGED} commits: shorten them in "
                                "the instance ('git reflog expire')",
                            )
        return frozenset(found)

    def _files(self, parent: int, name: str, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, int, str]]:
        """Yield path, open folder and name of all files below a folder; links and absent folders are as nothing."""
        if depth > MAX_DEPTH:
            return
        try:
            with open_directory(name, dir_fd=parent) as folder:
                path = f"{prefix}{name}"
                entries = list_directory(folder, limit=self._entries)
                self._entries -= len(entries)
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        yield from self._files(folder, entry.name, f"{path}/", depth + 1)
                    elif not entry.name.endswith(".lock"):
                        yield f"{path}/{entry.name}", folder, entry.name
        except TooLargeError as error:
            raise self._too_many() from error
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise  # refs that cannot be read are not gone, or what they name would pass for brought home

    def _read(self, name: str, folder: int, path: str, limit: int) -> bytes:
        """Return the content of a regular file; nothing where anything else is."""
        try:
            content = read_regular(name, folder, limit=min(limit, self._text)) or b""
        except TooLargeError as error:
            most = f"{MAX_TEXT >> 20} MiB of refs and logs" if limit >= self._text else f"the {limit} bytes of a ref"
            raise Terminal(
                "TooMuchWork",
                f"{os.path.join(self._private, path)!r} makes more than {most}: shorten or remove it in the instance",
            ) from error
        self._text -= len(content)
        return content

    def _lines(self, name: str, folder: int, path: str) -> Iterator[bytes]:
        """Yield the lines of a file that are long enough to matter, one at a time: it may be nothing but line ends."""
        for line in BytesIO(self._read(name, folder, path, MAX_TEXT)):
            if len(line) > _SHORTEST:
                yield line.removesuffix(b"\n")

    def _too_many(self) -> Terminal:
        return Terminal(
            "TooManyRefs",
            f"{self._private} has more than {MAX_REFS} branches and tags, or {MAX_ENTRIES} files among them and their "
            "logs: delete some of them in the instance",
        )


def _is_wanted(name: str) -> bool:
    return name.startswith(_WANTED) and is_ref_name(name)


def _values(line: bytes) -> Iterator[str]:
    for value in line.split(b" ", 2)[:2]:
        if _HASH.fullmatch(value) and value.strip(b"0"):
            yield value.decode()
