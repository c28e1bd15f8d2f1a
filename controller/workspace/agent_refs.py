"""What the refs and reflogs in a private git directory say, read without git.

The agent owns that directory: git run on it outside the container would follow its links, alternates and
configuration. So names and values are taken from regular files only, by open folders (``safe_files.py``), with
limits. ``collect.py`` compares them with what was brought home.

Git also keeps commits in files beside the refs: an autostash waits in one line of ``rebase-merge`` and has no other
name. What is named there, and in the worktrees the agent made, counts as what the reflogs say
(``gitrepository-layout(5)``, ``gitrevisions(7)``).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO

from controller.errors import Terminal

from .names import is_ref_name
from .safe_files import TooLargeError, list_directory, open_directory, read_regular

MAX_REFS = 20_000
MAX_REF = 4096
"""Bytes of one loose ref: git writes 41 or 65, or the name of another ref."""
MAX_ENTRIES = 200_000
"""Files and folders that are looked at: ten for each ref there may be."""
MAX_LOGGED = 250_000
"""Different commits in reflogs, which are never shortened, and beside them: some 40 MiB of memory while compared."""
MAX_DEPTH = 64
"""Folders inside each other, each of which is held open: a branch ``a/b/c`` lies two deeper than ``a``."""
MAX_TEXT = 64 << 20
"""Bytes of ``packed-refs`` and all reflogs together; a line takes some 200, so this is a third of a million."""

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

_HASH = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHORTEST = 40
_HASHES = re.compile(rb"(?<![0-9a-f])[0-9a-f]{40}(?:[0-9a-f]{24})?(?![0-9a-f])")
_PACKED = re.compile(rb"([0-9a-f]{40}(?:[0-9a-f]{24})?) (\S.*)")
_BRANCH = b"ref: refs/heads/"
_OTHER_FORMAT = ".invalid"
"""The branch that HEAD names where refs are kept in another format (``reftable``)."""

_FETCHED = ("refs/remotes/", "refs/prefetch/")
"""What others have. Where it is whole the reflogs bring it all the same; a ref of a shallow fetch would be a damaged
one, and keep the agent's own commits from home."""
_DETACHED = ("refs/HEAD", "refs/HEAD/")
"""Names whose place at home is that of a detached HEAD."""

_PSEUDO_REF = re.compile(r"(?!(?:FETCH|ORIG)_HEAD)[A-Z][A-Z_-]*(?<!MSG)")
"""``MERGE_AUTOSTASH``, ``BISECT_LOG``, ...: git takes any such name for a ref. But ``ORIG_HEAD`` was HEAD, whose reflog
has it until somebody wants it forgotten; ``FETCH_HEAD`` is what others have; and a message may name anything."""
_UNDER_WAY = ("rebase-merge", "rebase-apply", "sequencer")
_STEPS = {
    *("abort-safety", "amend", "autostash", "done", "git-rebase-todo", "head", "onto", "orig-head", "original-commit"),
    *("rewritten", "rewritten-list", "squash-onto", "stopped-sha", "todo", "update-refs"),
}
"""Files of a rebase, am, cherry-pick or revert that is under way which name commits; patches may be of any size."""


@dataclass(frozen=True, slots=True)
class AgentRefs:
    """What the agent's refs say.

    Attributes:
        branch: the branch its HEAD is on; ``None`` when detached.
        refs: name without ``refs/`` (``heads/x``, ``tags/v1``, ``stash``, ``jj/keep/x``) to object; ``HEAD`` only when
            detached.
        logged: everything a ref or HEAD ever pointed to, by the reflogs, and what else git names without a ref.
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


def is_commit_ref(name: str) -> bool:
    """Tell whether git lets a ref, named as in ``AgentRefs.refs``, point to commits only; others may to any object."""
    return name in {"HEAD", "stash"} or name.startswith(("heads/", "notes/"))


def read_refs(private: str) -> AgentRefs | None:
    """Return the agent's refs, or ``None`` when there is no private git directory.

    Raises:
        Terminal: ``TooManyRefs``, ``TooMuchWork``, ``TreeTooDeep``, ``UnknownRefFormat``.
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
        self._refs: dict[str, str] = {}
        self._logged: set[str] = set()

    def run(self) -> AgentRefs:
        head = self._read("HEAD", self._root, "HEAD", MAX_REF).removesuffix(b"\n")
        branch = os.fsdecode(head.removeprefix(_BRANCH)) if head.startswith(_BRANCH) else None
        if branch == _OTHER_FORMAT:
            raise Terminal(
                "UnknownRefFormat",
                f"{self._private} keeps its refs in a format that is not read here: go back to the usual one in the "
                "instance ('git refs migrate --ref-format=files')",
            )
        loose = self._loose()
        # Loose ones were first: git writes packed-refs before it removes the loose file.
        for line in self._lines("packed-refs", self._root, "packed-refs"):
            match = _PACKED.fullmatch(line)
            if match is not None and (name := os.fsdecode(match[2])) not in loose:
                self._note(name, match[1])
        for name, value in loose.items():
            self._note(name, value)
        if branch is None and _HASH.fullmatch(head):
            self._refs["HEAD"] = head.decode()
        self._read_beside()
        found = {name.removeprefix("refs/"): value for name, value in self._refs.items()}
        return AgentRefs(branch, found, frozenset(self._logged))

    def _loose(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for path, folder, name in self._files(self._root, "refs"):
            if path.startswith(_FETCHED):
                continue
            if is_ref_name(path):
                value = self._read(name, folder, path, MAX_REF).strip()
            else:  # too long for a name of ours, or no ref at all
                value = self._start(name, folder).strip()
            if _HASH.fullmatch(value):
                found[path] = value
                if len(found) > MAX_REFS:
                    raise self._too_many()
        return found

    def _note(self, name: str, value: bytes) -> None:
        """Take a ref by its name; one that can have none at home, by what it points to."""
        if name.startswith(_FETCHED):
            return
        if not is_ref_name(name) or name == _DETACHED[0] or name.startswith(_DETACHED[1]):
            self._log([value])
            return
        self._refs[name] = value.decode()
        if len(self._refs) > MAX_REFS:
            raise self._too_many()

    def _read_beside(self) -> None:
        """Take what git names elsewhere: in reflogs, in files that stand for a ref, and while it is interrupted."""
        for entry in self._list(self._root):
            if _PSEUDO_REF.fullmatch(entry.name):
                self._read_named(entry.name, self._root, entry.name, entry.name)
        for top in ("logs", *_UNDER_WAY, "worktrees"):
            for path, folder, name in self._files(self._root, top):
                self._read_named(path.split("/", 2)[-1] if top == "worktrees" else path, folder, name, path)

    def _read_named(self, place: str, folder: int, name: str, path: str) -> None:
        """Take what one file names; ``place`` is where it is in the git directory of its worktree."""
        top, _, rest = place.partition("/")
        if top == "logs":
            for line in self._lines(name, folder, path):
                self._log(_values(line))
        elif top == "refs":
            self._log(_HASHES.findall(self._start(name, folder)))
        elif (rest in _STEPS and top in _UNDER_WAY) or (not rest and _PSEUDO_REF.fullmatch(top)):
            for line in self._lines(name, folder, path):
                self._log(_HASHES.findall(line))

    def _log(self, values: Iterable[bytes]) -> None:
        self._logged.update(value.decode() for value in values if value.strip(b"0"))
        if len(self._logged) > MAX_LOGGED:
            raise Terminal(
                "TooMuchWork",
                f"the reflogs in {self._private} name more than {MAX_LOGGED} commits: shorten them in "
                "the instance ('git reflog expire')",
            )

    def _list(self, folder: int) -> list[os.DirEntry[str]]:
        try:
            entries = list_directory(folder, limit=self._entries)
        except TooLargeError as error:
            raise self._too_many() from error
        self._entries -= len(entries)
        return entries

    def _files(self, parent: int, name: str, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, int, str]]:
        """Yield path, open folder and name of all files below a folder; links and absent folders are as nothing."""
        if depth > MAX_DEPTH:
            raise Terminal(
                "TreeTooDeep",
                f"{os.path.join(self._private, prefix[:200])!r} lies more than {MAX_DEPTH} folders deep, where nobody "
                "looks for refs: give them shorter names in the instance, or remove it",
            )
        try:
            with open_directory(name, dir_fd=parent) as folder:
                path = f"{prefix}{name}"
                for entry in self._list(folder):
                    if entry.is_dir(follow_symlinks=False):
                        yield from self._files(folder, entry.name, f"{path}/", depth + 1)
                    elif not entry.name.endswith(".lock"):
                        yield f"{path}/{entry.name}", folder, entry.name
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

    def _start(self, name: str, folder: int) -> bytes:
        """Return the content of a small regular file; nothing where it is larger than a ref, or anything else."""
        try:
            content = read_regular(name, folder, limit=min(MAX_REF, self._text)) or b""
        except TooLargeError:
            return b""
        self._text -= len(content)
        return content

    def _lines(self, name: str, folder: int, path: str) -> Iterator[bytes]:
        """Yield the lines of a file that are long enough to matter, one at a time: it may be nothing but line ends."""
        for line in BytesIO(self._read(name, folder, path, MAX_TEXT)):
            if len(line) >= _SHORTEST:
                yield line.removesuffix(b"\n")

    def _too_many(self) -> Terminal:
        return Terminal(
            "TooManyRefs",
            f"{self._private} has more than {MAX_REFS} branches and tags, or {MAX_ENTRIES} files among them and their "
            "logs: delete some of them in the instance",
        )


def _values(line: bytes) -> Iterator[bytes]:
    """Yield the old and the new value of a line of a reflog."""
    return (value for value in line.split(b" ", 2)[:2] if _HASH.fullmatch(value))
