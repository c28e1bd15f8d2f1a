"""What a worktree holds, as a tree in git's own terms, read without letting git open the agent's files.

Git walks by path: an agent that swaps a folder for a link at the right moment would make it read, and store
where the agent can see it, any file of the user. Also, git would run the filters that the agent's attributes
select. So git is only asked which paths are ignored (names do no harm), and everything else is read here, by open
folders, as raw bytes. What git does not call ignored is work: the mistakes of this module are on the saving side.

Nested repositories are folders like any other; their ``.git`` is saved as ``.git-saved``, since git stores no
path with a component ``.git``, or as ``.git-saved-2`` where there is a ``.git-saved`` (a snapshot was brought back).
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count

from controller.errors import Terminal

from .allowance import MAX_ENTRIES, MAX_FILE, MAX_NAMES, Allowance, file_too_large
from .git import Git, GitTimedOut
from .repository import Repository
from .safe_files import TooLargeError, list_directory, open_directory, open_regular
from .seen_files import SeenFiles, is_written_back

logger = logging.getLogger(__name__)

MAX_DEPTH = 100
"""Folders inside each other; each level holds one descriptor open."""
MAX_NESTED = 50
"""Nested repositories whose own ignore rules are asked for."""

FILE, EXECUTABLE, LINK, SUBMODULE = "100644", "100755", "120000", "160000"
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_CHUNK = 1 << 20
_WHOLE = 16 << 20
_CACHE_SIZE = 100_000
_REMEMBERED_FILES = 50_000
"""Of all trees that are remembered together: some 15 MiB."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file; two are equal when git would store the same.

    Attributes:
        path: where its bytes are, relative to the worktree; differs from its name only inside a nested ``.git``.
        unix: hash of its content with Unix line ends, where it has others.
        size: its bytes, where it was found in a worktree.
    """

    mode: str
    oid: str
    path: str = field(default="", compare=False)
    unix: str | None = field(default=None, compare=False)
    size: int = field(default=0, compare=False)


Tree = Mapping[str, Entry]


def read_tree(git: Git, commit: str) -> Tree:
    """Return all files of a commit; commits never change, so those read last are remembered."""
    key = (git.git_dir, git.owner, commit)
    known = _trees.get(key)
    if known is None:
        known = _ask_tree(git, commit)
        _trees.put(key, known)
    return known


def _ask_tree(git: Git, commit: str) -> Tree:
    found: dict[str, Entry] = {}
    said, whole = git.read("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit, limit=MAX_NAMES)
    for line in _parts(said):
        about, _, name = line.partition(b"\t")
        mode, _, oid = about.decode().split(" ")
        path = os.fsdecode(name)
        found[path] = Entry(mode, oid, path)
        if len(found) > MAX_ENTRIES:
            whole = False
            break
    if not whole:  # a few small trees that name each other are enough
        raise Terminal(
            "TooMuchWork",
            f"commit {commit} has more than {MAX_ENTRIES} files, so nobody can tell what differs from it: let the "
            "instance go back to another one",
        )
    return found


def _parts(said: bytes) -> Iterator[bytes]:
    """Yield the parts of NUL-terminated output, one at a time."""
    start = 0
    while (end := said.find(b"\0", start)) != -1:
        yield said[start:end]
        start = end + 1


def scan(repository: Repository, worktree: str, tracked: Tree, submodules: frozenset[str]) -> dict[str, Entry]:
    """Return what the worktree holds that is not ignored, and what is tracked whether ignored or not.

    Args:
        repository: whose ignore rules apply.
        worktree: absolute path of the files.
        tracked: the commit it is compared with.
        submodules: declared submodules; their folders are left out and their entries kept as tracked.

    Raises:
        Terminal: ``TreeTooDeep``, ``FileUnreadable``, ``FileTooLarge``, ``WorktreeTooLarge``.
    """
    return _Scan(repository, worktree, tracked, submodules).run()


class _Scan:
    def __init__(self, repository: Repository, worktree: str, tracked: Tree, submodules: frozenset[str]) -> None:
        self._repository = repository
        self._worktree = worktree
        self._tracked = tracked
        self._submodules = submodules
        self._ignored: set[str] = set()
        self._nested = 0
        self._allowance = Allowance(worktree)
        self._sha256 = any(len(entry.oid) == 64 for entry in tracked.values())
        self.found: dict[str, Entry] = {}

    def run(self) -> dict[str, Entry]:
        self._ask_ignored("")
        with open_directory(self._worktree) as root:
            self._walk(root, "", "", 0)
            self._look_for_tracked(root)
        for path in self._submodules:
            if path in self._tracked:
                self.found[path] = self._tracked[path]
        return self.found

    def _ask_ignored(self, prefix: str) -> None:
        """Ask git what its rules ignore below a folder. No index is given: what is tracked is known otherwise."""
        git = replace(self._repository.git, work_tree=os.path.join(self._worktree, prefix))
        git = git.with_env({"GIT_INDEX_FILE": "/nonexistent/index"})
        command = ("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
        try:
            said, whole = git.read(*command, limit=MAX_NAMES, timeout=self._allowance.seconds)
        except GitTimedOut as error:
            raise self._allowance.too_much_ignored(prefix) from error
        self._ignored.update(prefix + os.fsdecode(path) for path in _parts(said))
        if not whole or len(self._ignored) > MAX_ENTRIES:
            raise self._allowance.too_much_ignored(prefix)

    def _walk(self, folder: int, path: str, name: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Terminal(
                "TreeTooDeep",
                f"{os.path.join(self._worktree, path)!r} lies more than {MAX_DEPTH} folders deep and cannot be saved: "
                "move or remove it",
            )
        entries = self._list(folder, path)
        if path and self._nested < MAX_NESTED and any(entry.name == ".git" for entry in entries):
            self._nested += 1
            self._ask_ignored(path)
        renamed = _renamed({entry.name for entry in entries}, top=not path)
        for entry in entries:
            here = path + entry.name
            if here in self._ignored or here == ".git":
                continue
            saved_as = name + renamed.get(entry.name, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if f"{here}/" in self._ignored or here in self._submodules:
                    continue
                with ExitStack() as stack:
                    try:
                        inner = stack.enter_context(open_directory(entry.name, dir_fd=folder))
                    except (FileNotFoundError, NotADirectoryError):
                        continue  # swapped since it was listed; the next look sees what it is now
                    except PermissionError as error:
                        raise self._unreadable(here) from error
                    self._walk(inner, f"{here}/", f"{saved_as}/", depth + 1)
            elif not self._is_known(entry, here, saved_as):
                self._note(folder, entry.name, here, saved_as)

    def _list(self, folder: int, path: str) -> list[os.DirEntry[str]]:
        try:
            entries = list_directory(folder, limit=self._allowance.entries)
        except TooLargeError as error:
            raise self._allowance.too_many(path) from error
        self._allowance.found(len(entries))
        return entries

    def _is_known(self, entry: os.DirEntry[str], path: str, saved_as: str) -> bool:
        """Note a file that is still what it was when it was read last, without opening it."""
        try:
            info = entry.stat(follow_symlinks=False)
        except OSError:
            return False
        oid = _cache.get(info, self._sha256) if stat.S_ISREG(info.st_mode) else None
        expected = self._tracked.get(saved_as)
        same = expected is None or expected.oid == oid
        if oid is None or not (same or info.st_size > _WHOLE):  # of small ones the line ends may make the difference
            return False
        if info.st_size > MAX_FILE and (expected is None or not same):
            raise file_too_large(self._allowance.place(path), info.st_size)
        self.found[saved_as] = Entry(_mode(info), oid, path, size=info.st_size)
        return True

    def _note(self, folder: int, name: str, path: str, saved_as: str) -> None:
        tracked = self._tracked.get(saved_as)
        expected = tracked.oid if tracked is not None else None
        allowance = self._allowance
        try:
            entry = read_entry(folder, name, path, sha256=self._sha256, expected=expected, allowance=allowance)
        except PermissionError as error:
            raise self._unreadable(path) from error
        if entry is not None:
            self.found[saved_as] = entry

    def _unreadable(self, path: str) -> Terminal:
        return Terminal(
            "FileUnreadable",
            f"{self._allowance.place(path)!r} cannot be read by uid {os.geteuid()}, so nobody knows whether it is "
            "saved: let it be read with 'chmod u+rX', or remove it",
        )

    def _look_for_tracked(self, root: int) -> None:
        """Find tracked files that the walk left out because a rule ignores them."""
        for path, entry in self._tracked.items():
            if path in self.found or entry.mode == SUBMODULE:
                continue
            if not any(f"{parent}/" in self._ignored for parent in _parents(path)) and path not in self._ignored:
                continue
            with ExitStack() as stack:
                folder: int | None = root
                *parents, name = path.split("/")
                try:
                    for parent in parents:
                        folder = stack.enter_context(open_directory(parent, dir_fd=folder))
                except PermissionError as error:
                    raise self._unreadable(path) from error
                except OSError as error:
                    if error.errno in _NOT_THERE:
                        continue
                    raise
                if folder is not None:
                    self._note(folder, name, path, path)


def _renamed(names: set[str], *, top: bool) -> dict[str, str]:
    """Return the entries of a folder that git would not store under their names, with those they are saved under."""
    taken = set(names)
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda each: (each != ".git", each)):
        if name.lower() == ".git" and not (top and name == ".git"):
            free = (".git-saved" if number == 1 else f".git-saved-{number}" for number in count(1))
            found[name] = next(each for each in free if each not in taken)
            taken.add(found[name])
    return found


def _parents(path: str) -> Iterator[str]:
    end = path.find("/")
    while end != -1:
        yield path[:end]
        end = path.find("/", end + 1)


def read_entry(
    folder: int, name: str, path: str, *, sha256: bool, expected: str | None, allowance: Allowance | None = None
) -> Entry | None:
    """Return the file's entry, or ``None`` when it vanished or git could not store it (a socket, a device).

    Without an ``allowance``, that of the whole look, a file is refused that is too large to be saved; with one it may
    be as large as the one it is compared with.

    Raises:
        Terminal: ``FileTooLarge``; ``WorktreeTooLarge`` by the allowance.
    """
    fd = open_regular(name, folder)
    if fd is not None:
        try:
            return _regular(fd, path, sha256=sha256, expected=expected, allowance=allowance)
        finally:
            os.close(fd)
    try:
        target = os.fsencode(os.readlink(name, dir_fd=folder))
    except OSError as error:
        if error.errno in {*_NOT_THERE, errno.EINVAL}:  # it is no link
            return None
        raise
    return Entry(LINK, blob_id(target, sha256=sha256), path)


def _regular(fd: int, path: str, *, sha256: bool, expected: str | None, allowance: Allowance | None) -> Entry:
    info = os.fstat(fd)
    settled = is_written_back(info)
    too_large = info.st_size > MAX_FILE
    place = path if allowance is None else allowance.place(path)
    if too_large and (expected is None or allowance is None):
        raise file_too_large(place, info.st_size)
    if allowance is not None:
        allowance.read(info.st_size, path)
    unix = None
    if info.st_size <= _WHOLE:
        content = b"".join(_pieces(fd, info.st_size))
        oid = blob_id(content, sha256=sha256)
        if expected not in (oid, None) and b"\r\n" in content:
            unix = blob_id(content.replace(b"\r\n", b"\n"), sha256=sha256)
    else:
        digest = _header(info.st_size, sha256=sha256)
        for piece in _pieces(fd, info.st_size):
            digest.update(piece)
            if allowance is not None:
                allowance.go_on(path)
        oid = digest.hexdigest()
    if settled:
        _cache.put(info, sha256, oid)
    if too_large and oid != expected:
        raise file_too_large(place, info.st_size)
    return Entry(_mode(info), oid, path, unix, info.st_size)


def _mode(info: os.stat_result) -> str:
    return EXECUTABLE if info.st_mode & stat.S_IXUSR else FILE


def blob_id(content: bytes, *, sha256: bool) -> str:
    """Return the name git gives to a file's content."""
    digest = _header(len(content), sha256=sha256)
    digest.update(content)
    return digest.hexdigest()


def _header(size: int, *, sha256: bool) -> hashlib._Hash:
    start = f"blob {size}\0".encode()
    return hashlib.sha256(start) if sha256 else hashlib.sha1(start, usedforsecurity=False)


def _pieces(fd: int, size: int) -> Iterator[bytes]:
    """Yield what the file had when its size was looked at: it may grow faster than it is read."""
    while size > 0 and (piece := os.read(fd, min(size, _CHUNK))):
        size -= len(piece)
        yield piece


_cache: SeenFiles[str] = SeenFiles(_CACHE_SIZE)
"""Hashes of files."""


class _Trees:
    """The commits read last, as long as they are not large: instances of a repository often begin at the same one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[object, ...], Tree] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> Tree | None:
        with self._lock:
            return self._known.get(key)

    def put(self, key: tuple[object, ...], tree: Tree) -> None:
        with self._lock:
            self._known[key] = tree
            while self._known and sum(map(len, self._known.values())) > _REMEMBERED_FILES:
                self._known.popitem(last=False)


_trees = _Trees()
