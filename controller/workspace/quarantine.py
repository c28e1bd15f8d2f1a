"""A bare repository of our own that mirrors the agent's object files, after checking them.

Loose objects must inflate to what their name says; packs are indexed anew. Nothing else of the agent's directory
is copied: no configuration, alternates, commit graph or index of its packs. The user's object store is the
quarantine's alternate, so that ``git pack-objects --local`` picks exactly what the user does not have.
See ``docs/adr/0002-collect-through-quarantine.md``.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from controller.errors import Terminal

from .git import Git, GitFailed, GitOutOfMemory, GitTimedOut
from .safe_files import TooLargeError, list_directory, open_directory, open_regular, write_file
from .seen_files import SeenFiles, is_settled

logger = logging.getLogger(__name__)

MAX_OBJECT = 4 << 30
"""Bytes of one loose object, inflated; it is the largest file that is brought home."""
MAX_STRUCTURE = 256 << 20
"""Bytes of a commit, tree or tag, which git holds in memory as a whole; a folder of a million files takes 50 MB."""
MAX_INTAKE = 16 << 30
"""Bytes read and inflated in one go, some minutes of one processor; the next look goes on from there."""
INTAKE_SECONDS = 900.0
"""The same for the time: of packs nobody knows what they inflate to, nor what else the machine does."""
MAX_FILES = 1_000_000
"""Loose objects and packs: names are compared in memory."""
RETRY_SECONDS = 3600.0
"""After that a pack that took too long is tried again: the machine may have been busy."""

MAX_MEMORY = 4 << 30
"""Bytes each git may have that looks at the agent's objects: it holds all folders on the way to one nested in them."""
THREADS = 2
"""Of one git; each may hold a few of the following."""
_IN_MEMORY = "1g"
"""The most that git may allocate at once for a pack: what a delta makes is held whole, and a few bytes can make any
number. Git makes none of a file of more than 512 MiB."""
_REPACK = "make other packs in the instance: 'git -c core.bigFileThreshold=16m repack -a -d -F --max-pack-size=1g'"
_FAN_OUT = re.compile(r"[0-9a-f]{2}")
_PACK = re.compile(r"pack-[0-9a-f]{40,64}\.pack")
_HEADER = re.compile(rb"(commit|tree|blob|tag) (\d{1,15})\0")
_LONGEST_HEADER = 32
_READ = 64 << 10
_INFLATE = 1 << 20
_PAGE = bytes(4096)
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_REMEMBERED = 50_000

_Copy = Callable[[int, IO[bytes], str], bool]


class _LeftOutError(Exception):
    """An object is larger than what is brought home."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A file of the agent that is not looked at again before ``until`` (monotonic).

    Attributes:
        why: to be told, where it may hold work; ``None`` = git would not read it either.
    """

    why: str | None = None
    until: float = math.inf


_refused: SeenFiles[_Refusal] = SeenFiles(_REMEMBERED)


class Quarantine:
    """The mirror.

    Attributes:
        path: its folder, closed to everybody but the controller.
        git: git on it, as the controller.
    """

    def __init__(self, path: str, objects: str, *, shallow: str | None, sha256: bool) -> None:
        self.path = path
        self.git = Git(path, (os.geteuid(), os.getegid()), umask=0o077, memory=MAX_MEMORY)
        self._objects = os.path.join(path, "objects")
        self._hash: Callable[[], hashlib._Hash] = hashlib.sha256 if sha256 else hashlib.sha1  # git's own
        self._budget = MAX_INTAKE
        self._files = MAX_FILES
        self._deadline = math.inf
        self._left_out: str | None = None
        for folder in ("objects/pack", "objects/info", "refs"):
            os.makedirs(os.path.join(path, folder), mode=0o700, exist_ok=True)
        extensions = "[extensions]\n\tobjectformat = sha256\n" if sha256 else ""
        files = {
            "HEAD": "ref: refs/heads/none\n",
            "config": f"[core]\n\trepositoryformatversion = {int(sha256)}\n\tbare = true\n{extensions}",
            "objects/info/alternates": f"{objects}\n",
            "shallow": f"{shallow}\n" if shallow else "",
        }
        for name, text in files.items():
            write_file(os.path.join(path, name), text.encode(errors="surrogateescape"), mode=0o600)

    @property
    def too_large(self) -> Terminal | None:
        """What to tell when something is missing, if an object was left out for its size."""
        if self._left_out is None:
            return None
        return Terminal(
            "TooMuchWork",
            f"{self._left_out}: the commits that need it stay in the instance; 'git rev-list --objects --all --reflog' "
            "there names the file, remove it from them",
        )

    def size(self) -> int:
        """Return the bytes of all that was taken in."""
        folders = os.walk(self._objects)
        return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in folders for name in names)

    def mirror(self, private: str) -> None:
        """Take in new object files and drop those the agent no longer has.

        An object that is too large is left out, see :attr:`too_large`: nothing may need it.

        Raises:
            Terminal: ``TooMuchWork``.
        """
        self._deadline = time.monotonic() + INTAKE_SECONDS
        with _folder(private, None) as root:
            if root is None:
                return
            with _folder("objects", root) as objects:
                if objects is None:
                    logger.warning("agent's object store was not a folder", extra={"cco_path": private})
                    return
                # Loose first: a repack writes the pack before it removes the loose files.
                for name in sorted(self._names(objects, _FAN_OUT)):
                    self._mirror_loose(objects, name)
                self._mirror_packs(objects)

    def _names(self, folder: int, wanted: re.Pattern[str]) -> set[str]:
        try:
            entries = list_directory(folder, limit=self._files)
        except TooLargeError as error:
            raise Terminal(
                "TooMuchWork",
                f"the instance has more than {MAX_FILES} object files: 'git gc' there puts them into one",
            ) from error
        self._files -= len(entries)
        return {entry.name for entry in entries if wanted.fullmatch(entry.name)}

    def _mirror_loose(self, objects: int, fan_out: str) -> None:
        target = os.path.join(self._objects, fan_out)
        have = set(os.listdir(target)) if os.path.isdir(target) else set()
        rest = re.compile(f"[0-9a-f]{{{self._hash().digest_size * 2 - 2}}}")
        theirs: set[str] = set()
        with _folder(fan_out, objects) as folder:
            if folder is not None:
                theirs = self._names(folder, rest)
                for name in sorted(theirs - have):
                    os.makedirs(target, mode=0o700, exist_ok=True)
                    self._take(folder, name, os.path.join(target, name), self._inflates_to, fan_out + name)
        for name in have - theirs:
            with suppress(FileNotFoundError):  # a half-copied file of an earlier run has become a whole one
                os.unlink(os.path.join(target, name))

    def _mirror_packs(self, objects: int) -> None:
        target = os.path.join(self._objects, "pack")
        ours = set(os.listdir(target))
        have = {name for name in ours if name.endswith(".pack") and _index_of(name) in ours}
        theirs: set[str] = set()
        with _folder("pack", objects) as folder:
            if folder is not None:
                theirs = self._names(folder, _PACK)
                for name in sorted(theirs - have):
                    self._take(folder, name, os.path.join(target, name), self._copy, name)
        for name in set(os.listdir(target)) - theirs - {_index_of(name) for name in theirs}:
            os.unlink(os.path.join(target, name))

    def _take(self, folder: int, name: str, target: str, copy: _Copy, expected: str) -> None:
        """Take one file in, unless it was looked at before and refused."""
        fd = open_regular(name, folder)
        if fd is None:
            return
        try:
            info = os.fstat(fd)
            settled = is_settled(info)
            refusal = _refused.get(info, expected)
            if refusal is None or refusal.until < time.monotonic():
                refusal = self._try(fd, target, copy, expected)
                if refusal is not None and settled:
                    _refused.put(info, expected, refusal)
        finally:
            os.close(fd)
        if refusal is not None and refusal.why is not None:
            raise Terminal("TooMuchWork", refusal.why)

    def _try(self, fd: int, target: str, copy: _Copy, expected: str) -> _Refusal | None:
        temporary = f"{target}.new"
        genuine = False
        try:
            with open(temporary, "wb") as out:
                genuine = copy(fd, out, expected)
                out.truncate()  # it may end in a hole
        except _LeftOutError as error:
            self._left_out = self._left_out or str(error)
            logger.warning("object was left out for its size", extra={"cco_object": expected})
            return None  # to be told again by every look at whose end something needs it
        finally:
            if not genuine:
                os.unlink(temporary)
        if not genuine:
            logger.warning("object that is not what its name says was ignored", extra={"cco_object": expected})
            return _Refusal()
        os.rename(temporary, target)
        return self._index(target, expected) if target.endswith(".pack") else None

    def _index(self, pack: str, name: str) -> _Refusal | None:
        """Let git check a pack of ours; one that it cannot read is removed."""
        git = self.git.with_env({"GIT_ALLOC_LIMIT": _IN_MEMORY})
        left = max(1.0, self._deadline - time.monotonic())
        try:
            git.run("index-pack", f"--threads={THREADS}", pack, timeout=left)
        except GitTimedOut:
            os.unlink(pack)
            slow = f"{name} could not be checked within {left:.0f} s: {_REPACK}"
            return _Refusal(slow, time.monotonic() + RETRY_SECONDS)
        except GitFailed as error:
            os.unlink(pack)
            if "over limit" in error.stderr or isinstance(error, GitOutOfMemory):
                return _Refusal(
                    f"{name} has an object for which git needs more than {_IN_MEMORY}B of memory: {_REPACK}"
                )
            logger.warning("pack that git cannot read was ignored", extra={"cco_pack": name})
            return _Refusal()
        return None

    def _copy(self, fd: int, out: IO[bytes], expected: str) -> bool:
        for _ in self._blocks(fd, out, expected):
            continue
        return True

    def _inflates_to(self, fd: int, out: IO[bytes], expected: str) -> bool:
        """Copy a loose object; True when header, size and hash of what it inflates to are right.

        No more of it is inflated than its own header says.
        """
        stream = zlib.decompressobj()
        digest = self._hash()
        start = b""
        size, most = 0, _LONGEST_HEADER
        try:
            for block in self._blocks(fd, out, expected):
                if stream.eof:  # git takes none with something behind it
                    return False
                rest = block
                while rest and not stream.eof:
                    plain = stream.decompress(rest, _INFLATE if start else _LONGEST_HEADER)
                    rest = stream.unconsumed_tail
                    digest.update(plain)
                    size += len(plain)
                    self._charge(len(plain), expected)
                    if plain and not start:
                        start = plain
                        most = _declared_size(start, expected)
                    if size > most:
                        return False
        except zlib.error:
            return False
        return stream.eof and not stream.unused_data and size == most and digest.hexdigest() == expected

    def _blocks(self, fd: int, out: IO[bytes], expected: str) -> Iterator[bytes]:
        """Yield the file's bytes, each when it is copied."""
        while block := os.read(fd, _READ):
            self._charge(len(block), expected)
            _write_sparse(out, block)
            yield block

    def _charge(self, size: int, expected: str) -> None:
        self._budget -= size
        if self._budget < 0:
            raise _later(f"more than {MAX_INTAKE >> 30} GiB of new objects", expected)
        if time.monotonic() > self._deadline:
            raise _later(f"new objects that take more than {INTAKE_SECONDS:g} s to look at", expected)


def _declared_size(start: bytes, expected: str) -> int:
    """Return the bytes a loose object has by its header, with it; 0 when it has none."""
    header = _HEADER.match(start)
    if header is None:
        return 0
    most = MAX_OBJECT if header[1] == b"blob" else MAX_STRUCTURE
    size = int(header[2])
    if size > most:
        raise _LeftOutError(f"{header[1].decode()} {expected} of the instance has more than {most >> 20} MiB")
    return header.end() + size


def _index_of(pack: str) -> str:
    return f"{pack.removesuffix('.pack')}.idx"


def _write_sparse(out: IO[bytes], block: bytes) -> None:
    """Write a block; pages of zeros become holes, so that a copy takes no more room than what it is a copy of.

    What the agent has on the disk is limited and watched, the copy is not.
    """
    if _PAGE not in block:
        out.write(block)
        return
    for start in range(0, len(block), len(_PAGE)):
        page = block[start : start + len(_PAGE)]
        if page == _PAGE:
            out.seek(len(_PAGE), os.SEEK_CUR)
        else:
            out.write(page)


def _later(what: str, expected: str) -> Terminal:
    return Terminal(
        "TooMuchWork",
        f"the instance has {what}, up to {expected}: what was looked at is kept, the rest follows with the next look. "
        f"Where it does not, remove the large files from its commits there, or {_REPACK}",
    )


@contextmanager
def _folder(name: str, parent: int | None) -> Iterator[int | None]:
    """Yield an open folder, or ``None`` when it is absent or the agent put something else in its place."""
    with ExitStack() as stack:
        try:
            fd = stack.enter_context(open_directory(name, dir_fd=parent))
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            fd = None
        yield fd
