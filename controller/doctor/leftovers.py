"""Modes of private files, and files that programs left behind which are dead by now.

A lock file is never removed: the kernel lets a lock go with its holder, and taking the file away from under a program
that is just opening it would make two holders. What can be left behind is a socket nobody listens on, and drafts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from controller.leadership import GUARD_NAME, LOCK_NAME
from controller.resources.check import Fixer, Repair
from controller.state_directory import private_mode

from .examination import Finding, failed, notable, unknown, well

SOCKET_NAME = "controller.sock"
_DRAFT = re.compile(r"token\.(\d{1,9})\.[0-9a-f]{8}")
_CONNECT_SECONDS = 1.0
_START = "cco up, or make up"


class _Held(Exception):
    """A controller holds the lock of the state directory."""


def examine_state_directory(directory: Path) -> Finding:
    """Judge whether the state directory is there and its owner's alone."""
    try:
        found = directory.stat()
    except FileNotFoundError:
        return notable(f"{directory} is not there yet: the first start makes it", _START)
    except OSError as error:
        return failed(f"{directory} cannot be looked at: {error.strerror}; set CCO_STATE_DIR to a folder of yours")
    if not stat.S_ISDIR(found.st_mode):
        return failed(f"{directory} is not a folder: set CCO_STATE_DIR to one")
    if os.geteuid() not in {0, found.st_uid}:
        return failed(f"{directory} belongs to uid {found.st_uid} and you are {os.geteuid()}: run as that user")
    # On a read-only file system this is false for root, too.
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        return failed(
            f"{directory} cannot be written to, so nothing starts: make it and its mount writable, or set "
            "CCO_STATE_DIR to another folder"
        )
    # Runtime 'process' lets instances of another user pass through it, not look: see docs/process-runtime.md.
    return _judge_mode(directory, found.st_mode, 0o066, f"chmod {private_mode(directory):o}")


def examine_token(path: Path) -> Finding:
    """Judge whether the API token is there and its owner's alone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return notable(f"{path} is not there yet: the server makes it when it starts", _START)
    except OSError as error:
        return failed(f"{path} cannot be looked at: {error.strerror}; run as the user that started cc-orchestrator")
    return _judge_mode(path, found.st_mode, 0o077, "chmod 600")


def judge_configuration(path: Path) -> Finding:
    """Judge whether only its owner can change the configuration file; it holds no secrets, so others may read it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return well(f"valid; {path} does not exist, so defaults and environment hold")
    except OSError as error:
        return failed(f"{path} cannot be looked at: {error.strerror}")
    finding = _judge_mode(path, found.st_mode, 0o022, "chmod go-w")
    return well(f"{path} is valid") if finding.fix is None else finding


def examine_leftovers(directory: Path) -> Finding | None:
    """Look for files that dead programs left behind; ``None`` where there is no state directory."""
    if not directory.is_dir():
        return None
    try:
        left = [path.name for path in _leftovers(directory)]
    except OSError as error:
        return unknown(f"{directory} cannot be looked at: {error.strerror}")
    if not left:
        return well("no program left anything behind")
    message = f"{', '.join(left)} in {directory}: left behind by a program that has ended, in nobody's way"
    return notable(f"{message}; the next start, or 'cco doctor --fix', removes what it can", None, Fixer.CLIENT)


def restrict_state_directory(directory: Path) -> Repair | None:
    """See :func:`restrict`; instances that pass through it go on doing so."""
    return restrict("state-directory", directory, private_mode(directory))


def restrict(check: str, path: Path, mode: int) -> Repair | None:
    """Take the bits that are not in ``mode`` away from a file of ours; ``None`` where there are none, or no file.

    Never through a symbolic link: who may write to the folder could point it at somebody else's file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Repair(check=check, done=False, message=f"{path}: its mode was left alone: {error.strerror}")
    try:
        before = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if before & ~mode == 0:
            return None
        os.fchmod(descriptor, before & mode)
    except OSError as error:
        return Repair(check=check, done=False, message=f"{path}: its mode was left alone: {error.strerror}")
    finally:
        os.close(descriptor)
    return Repair(check=check, done=True, message=f"{path}: mode {before:04o} is now {before & mode:04o}")


def clear_leftovers(directory: Path) -> tuple[Repair, ...]:
    """Remove what dead programs left behind; a controller that is just starting is let alone."""
    repairs = []
    try:
        with _nobody_starts(directory):
            for path in list(_leftovers(directory)):
                path.unlink(missing_ok=True)
                repairs.append(Repair(check="leftovers", done=True, message=f"{path}: removed"))
    except _Held as error:
        repairs.append(Repair(check="leftovers", done=False, message=str(error)))
    except OSError as error:
        repairs.append(Repair(check="leftovers", done=False, message=f"{directory}: {error.strerror}"))
    return tuple(repairs)


def _judge_mode(path: Path, mode: int, forbidden: int, command: str) -> Finding:
    found = stat.S_IMODE(mode)
    if found & forbidden == 0:
        return well(f"{path} is its owner's alone (mode {found:04o})")
    verb = "change" if forbidden == 0o022 else "look into"
    message = f"{path} has mode {found:04o}, so others can {verb} it: take that from them"
    return failed(message, f"{command} {path}", Fixer.CLIENT)


def _leftovers(directory: Path) -> Iterator[Path]:
    listener = directory / SOCKET_NAME
    if listener.is_socket() and not _listens(listener):
        yield listener
    for path in sorted(directory.iterdir()):
        draft = _DRAFT.fullmatch(path.name)
        if draft is not None and path.is_file() and not Path("/proc", draft[1]).exists():
            yield path


def _listens(path: Path) -> bool:
    """Tell whether a program listens; only a refusal says that none does."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(_CONNECT_SECONDS)
        try:
            connection.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


@contextlib.contextmanager
def _nobody_starts(directory: Path) -> Iterator[None]:
    """Hold off a controller that wants to start meanwhile; it waits half a second for the guard.

    Raises:
        _Held: one holds the lock, or is about to.
    """
    with contextlib.ExitStack() as stack:
        for name in (GUARD_NAME, LOCK_NAME):
            path = directory / name
            if not path.exists():
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"{path} is held, so a controller runs or starts and tidies up by itself"
                raise _Held(message) from None
        yield
