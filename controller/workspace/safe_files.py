"""Touching folders that somebody else may be changing at this moment, without ever following a symbolic link.

An agent owns the worktree and the private git directory and may swap any part of them for a link while we look.
So a path below such a folder is opened one component at a time, each relative to the open folder above it and
with ``O_NOFOLLOW``; only regular files are read, without blocking on a FIFO, and never more than asked for.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from controller.errors import Retryable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK = 1 << 20
_TREE_SECONDS = 600.0
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}


class TooLargeError(OSError):
    """A file is larger, or a folder holds more, than the caller is willing to read; ``filename`` says which."""

    def __init__(self, name: str | None, most: str) -> None:
        super().__init__(errno.EFBIG, f"larger than {most}, which is more than it can have to be", name)


def kind_at(path: str, *, follow: bool = False) -> int | None:
    """Return the type (as :func:`stat.S_IFMT`) of what is at ``path``, ``None`` only when there surely is nothing.

    :func:`os.path.exists`, ``isdir`` and their like say no as well where nobody may look, or the disk does not answer.
    Removals follow from what is asked here, so that has to be an error.

    Args:
        path: also one whose folder is missing.
        follow: look at what a link leads to.

    Raises:
        OSError: nobody could tell.
    """
    try:
        info = os.stat(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    return stat.S_IFMT(info.st_mode)


def is_there(path: str) -> bool:
    """Tell whether anything is at ``path``, be it a link that leads nowhere; raises as :func:`kind_at`."""
    return kind_at(path) is not None


def is_folder(path: str, *, follow: bool = False) -> bool:
    """Tell whether a folder is at ``path``; raises as :func:`kind_at`."""
    return kind_at(path, follow=follow) == stat.S_IFDIR


def is_file(path: str, *, follow: bool = False) -> bool:
    """Tell whether a regular file is at ``path``; raises as :func:`kind_at`."""
    return kind_at(path, follow=follow) == stat.S_IFREG


@contextmanager
def open_directory(path: str, *, dir_fd: int | None = None) -> Iterator[int]:
    """Yield a descriptor of a folder; raises ``OSError`` when its last component is a link or no folder."""
    fd = os.open(path, _DIRECTORY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def open_regular(name: str, dir_fd: int) -> int | None:
    """Return a descriptor of a regular file, or ``None`` when it is absent or anything else; the caller closes it."""
    try:
        fd = os.open(name, _FILE, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EISDIR, errno.ENODEV}:
            return None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return fd


def read_regular(name: str, dir_fd: int, *, limit: int) -> bytes | None:
    """Return the content of a regular file, or ``None`` when it is absent or anything else.

    Raises:
        TooLargeError: it has more than ``limit`` bytes.
    """
    fd = open_regular(name, dir_fd)
    if fd is None:
        return None
    try:
        parts: list[bytes] = []
        size = 0
        while block := os.read(fd, _CHUNK):
            size += len(block)
            if size > limit:
                raise TooLargeError(name, f"{limit} bytes")
            parts.append(block)
        return b"".join(parts)
    finally:
        os.close(fd)


def read_start(path: str, size: int) -> bytes | None:
    """Return the first bytes of a regular file, or ``None`` when it is absent or anything else."""
    with open_directory(os.path.dirname(path)) as folder:
        fd = open_regular(os.path.basename(path), folder)
    if fd is None:
        return None
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def read_text(path: str, *, limit: int = 1 << 20) -> str | None:
    """Return a small file without its last newline, or ``None`` when it is absent or no regular file.

    Raises:
        TooLargeError: it has more than ``limit`` bytes.
    """
    try:
        with open_directory(os.path.dirname(path) or "/") as folder:
            content = read_regular(os.path.basename(path), folder, limit=limit)
    except FileNotFoundError:
        return None
    except TooLargeError as error:
        error.filename = path
        raise
    return None if content is None else os.fsdecode(content).removesuffix("\n")


def list_directory(dir_fd: int, *, limit: int | None = None) -> list[os.DirEntry[str]]:
    """Return the entries of an open folder.

    Raises:
        TooLargeError: it has more than ``limit`` of them.
    """
    with os.scandir(dir_fd) as entries:
        found = list(entries if limit is None else islice(entries, limit + 1))
    if limit is not None and len(found) > limit:
        raise TooLargeError(None, f"{limit} entries")
    return found


def missing_above(path: str) -> tuple[str, ...]:
    """Return the folders above ``path`` that do not exist, outermost first."""
    missing: list[str] = []
    parent = os.path.dirname(path)
    while not is_folder(parent, follow=True):
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    return tuple(missing)


def make_directories(path: str, owner: tuple[int, int], *, mode: int = 0o755) -> None:
    """Make a folder and its missing parents for ``owner``; one that exists and is empty changes hands too.

    The part that exists is the user's and may contain links; nothing is made through a link planted meanwhile.
    """
    missing = missing_above(os.path.join(path, "x"))
    fd = os.open(os.path.dirname(missing[0]) if missing else path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in map(os.path.basename, missing):
            try:
                os.mkdir(name, mode, dir_fd=fd)
                new = True
            except FileExistsError:
                new = False
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = inner
            if new and os.geteuid() == 0:
                os.fchown(fd, *owner)
        if not missing and os.geteuid() == 0 and not os.listdir(fd):
            os.fchown(fd, *owner)  # we were killed between making and giving it away
    finally:
        os.close(fd)


def write_file(
    path: str, content: bytes, *, mode: int, owner: tuple[int, int] | None = None, durable: bool = False
) -> None:
    """Replace a file atomically; its folder must exist and must not be a link.

    With ``durable`` it is on the disk before it has its name: not even a power cut leaves the name of an empty file.
    """
    name = os.path.basename(path)
    temporary = f".{name}.new"  # the caller holds the lock of what it writes: nobody else uses the name
    with open_directory(os.path.dirname(path)) as folder:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder
        )
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(content)
                os.fchmod(stream.fileno(), mode)
                if owner is not None and os.geteuid() == 0:
                    os.fchown(stream.fileno(), *owner)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(temporary, dir_fd=folder)
            raise


def remove_tree(path: str) -> None:
    """Remove a folder whatever is in it; an absent one is success.

    ``rm`` walks by open folders, follows no link, stays on one file system, and, unlike :func:`shutil.rmtree`,
    neither recurses nor keeps a descriptor per level: an agent chooses how deep its folders nest.

    Raises:
        Retryable: ``RemovalFailed``.
        OSError: nobody could tell whether it is there.
    """
    if not is_there(path):
        return
    if os.geteuid() != 0:  # root needs no permission; the owner may have to give it back to itself
        _run_on_tree("chmod", "-R", "u+rwX", "--", path, check=False)
    _run_on_tree("rm", "-rf", "--one-file-system", "--", path, check=True)


def chown_tree(path: str, owner: tuple[int, int]) -> None:
    """Give a folder and all in it to ``owner``; links themselves change hands, what they point to does not.

    Does nothing unless we are root, because then everything was made by the owner to begin with.
    """
    if os.geteuid() == 0:
        _run_on_tree("chown", "-hRP", f"{owner[0]}:{owner[1]}", "--", path, check=True)


def _run_on_tree(*command: str, check: bool) -> None:
    try:
        done = subprocess.run(  # noqa: S603  # a fixed program, an argument list, the path after --
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TREE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Retryable("RemovalFailed", f"{command[0]} {command[-1]} took more than {_TREE_SECONDS:g} s") from error
    if check and done.returncode != 0:
        said = os.fsdecode(done.stderr).strip().splitlines()
        raise Retryable("RemovalFailed", said[-1] if said else f"{command[0]} {command[-1]} failed")
