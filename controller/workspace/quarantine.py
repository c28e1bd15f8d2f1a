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
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

from controller.errors import Terminal

from .git import LONG, Git, GitFailed
from .safe_files import list_directory, open_directory, open_regular, write_file

logger = logging.getLogger(__name__)

MAX_OBJECT = 4 << 30
"""Bytes of one loose object, inflated."""
MAX_INTAKE = 16 << 30
"""Bytes copied in one go."""

_FAN_OUT = re.compile(r"[0-9a-f]{2}")
_PACK = re.compile(r"pack-[0-9a-f]{40,64}\.pack")
_HEADER = re.compile(rb"(?:commit|tree|blob|tag) (\d{1,15})\0")
_CHUNK = 1 << 20
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class Quarantine:
    """The mirror.

    Attributes:
        path: its folder, closed to everybody but the controller.
        git: git on it, as the controller.
    """

    def __init__(self, path: str, objects: str, *, shallow: str | None, sha256: bool) -> None:
        self.path = path
        self.git = Git(path, (os.geteuid(), os.getegid()), umask=0o077)
        self._objects = os.path.join(path, "objects")
        self._hash: Callable[[], hashlib._Hash] = hashlib.sha256 if sha256 else hashlib.sha1  # git's own
        self._budget = MAX_INTAKE
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

    def mirror(self, private: str) -> None:
        """Take in new object files and drop those the agent no longer has.

        Raises:
            Terminal: ``TooMuchWork``.
        """
        with _folder(private, None) as root:
            if root is None:
                return
            with _folder("objects", root) as objects:
                if objects is None:
                    logger.warning("agent's object store was not a folder", extra={"cco_path": private})
                    return
                # Loose first: a repack writes the pack before it removes the loose files.
                for entry in list_directory(objects):
                    if _FAN_OUT.fullmatch(entry.name):
                        self._mirror_loose(objects, entry.name)
                self._mirror_packs(objects)

    def _mirror_loose(self, objects: int, fan_out: str) -> None:
        target = os.path.join(self._objects, fan_out)
        have = set(os.listdir(target)) if os.path.isdir(target) else set()
        name_length = self._hash().digest_size * 2 - 2
        theirs: set[str] = set()
        with _folder(fan_out, objects) as folder:
            if folder is not None:
                theirs = {entry.name for entry in list_directory(folder) if len(entry.name) == name_length}
                for name in sorted(theirs - have):
                    os.makedirs(target, mode=0o700, exist_ok=True)
                    self._take(folder, name, os.path.join(target, name), self._inflates_to, fan_out + name)
        for name in have - theirs:
            with suppress(FileNotFoundError):  # a half-copied file of an earlier run has become a whole one
                os.unlink(os.path.join(target, name))

    def _mirror_packs(self, objects: int) -> None:
        target = os.path.join(self._objects, "pack")
        have = {name for name in os.listdir(target) if name.endswith(".pack")}
        theirs: set[str] = set()
        with _folder("pack", objects) as folder:
            if folder is not None:
                theirs = {entry.name for entry in list_directory(folder) if _PACK.fullmatch(entry.name)}
                for name in sorted(theirs - have):
                    self._take(folder, name, os.path.join(target, name), self._copy, name)
        for name in os.listdir(target):
            if name.endswith(".pack") and name in theirs:
                continue
            if name.endswith(".idx") and f"{name.removesuffix('.idx')}.pack" in theirs:
                continue
            os.unlink(os.path.join(target, name))
        for name in os.listdir(target):
            if name.endswith(".pack") and not os.path.exists(os.path.join(target, f"{name.removesuffix('.pack')}.idx")):
                self._index(os.path.join(target, name))

    def _index(self, pack: str) -> None:
        try:
            self.git.run("index-pack", pack, timeout=LONG)
        except GitFailed:
            logger.warning("pack that git cannot read was ignored", extra={"cco_pack": os.path.basename(pack)})
            os.unlink(pack)

    def _take(
        self, folder: int, name: str, target: str, copy: Callable[[int, IO[bytes], str], bool], expected: str
    ) -> None:
        fd = open_regular(name, folder)
        if fd is None:
            return
        temporary = f"{target}.new"
        genuine = False
        try:
            with open(temporary, "wb") as out:
                genuine = copy(fd, out, expected)
        finally:
            os.close(fd)
            if not genuine:
                os.unlink(temporary)
        if genuine:
            os.rename(temporary, target)
        else:
            logger.warning("object that is not what its name says was ignored", extra={"cco_object": expected})

    def _copy(self, fd: int, out: IO[bytes], expected: str) -> bool:
        del expected
        for block in self._blocks(fd):
            out.write(block)
        return True

    def _inflates_to(self, fd: int, out: IO[bytes], expected: str) -> bool:
        """Copy a loose object; True when header, size and hash of what it inflates to are right."""
        stream = zlib.decompressobj()
        digest = self._hash()
        start = b""
        size = 0
        try:
            for block in self._blocks(fd):
                out.write(block)
                rest = block
                while rest and not stream.eof:
                    plain = stream.decompress(rest, _CHUNK)
                    rest = stream.unconsumed_tail
                    size += len(plain)
                    if size > MAX_OBJECT:
                        raise _too_much(f"object {expected} of the instance has more than {MAX_OBJECT >> 30} GiB")
                    digest.update(plain)
                    if len(start) < 32:
                        start += plain[:32]
        except zlib.error:
            return False
        header = _HEADER.match(start)
        return (
            stream.eof
            and header is not None
            and int(header[1]) == size - header.end()
            and digest.hexdigest() == expected
        )

    def _blocks(self, fd: int) -> Iterator[bytes]:
        while block := os.read(fd, _CHUNK):
            self._budget -= len(block)
            if self._budget < 0:
                raise _too_much(f"the instance has more than {MAX_INTAKE >> 30} GiB of new objects")
            yield block


def _too_much(what: str) -> Terminal:
    return Terminal("TooMuchWork", f"{what}: its commits stay in the instance; remove the large files from them there")


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
