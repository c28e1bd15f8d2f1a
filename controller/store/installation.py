"""The files beside the database that tell a first start from a misfortune.

``installation`` holds the installation's id. A directory that has it, or instances' folders, has had a database;
if that is not there, or is another one, somebody has to say what to do: an empty database would make every running
container a stranger's. Nothing here changes a database.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from controller.errors import Terminal

FILE_NAME = "installation"
_FORMER_SUFFIX = ".id"
_OUT = "restore it from a backup, or put back what is known with 'python -m controller rebuild'"


def installation_file(database: Path) -> Path:
    """Return the file with the installation's id."""
    return database.with_name(FILE_NAME)


def known_installation(database: Path) -> str | None:
    """Return the id this directory belongs to, or ``None`` when nothing says so.

    Raises:
        Terminal: ``InstallationMismatch``, the file holds something else than an id.
    """
    for path in (installation_file(database), _former(database)):
        try:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            continue
        if not _is_uuid(text):
            message = (
                f"{path} does not hold an installation's id: restore it, or remove it if state.db is the right one"
            )
            raise Terminal("InstallationMismatch", message)
        return text
    return None


def remember_installation(database: Path, identity: str) -> None:
    """Write the id down; idempotent."""
    path = installation_file(database)
    if known_installation(database) != identity or not path.exists():
        made = path.with_name(f"{FILE_NAME}.new")
        made.unlink(missing_ok=True)
        create_private(made)
        with made.open("w", encoding="ascii") as file:
            file.write(f"{identity}\n")
            file.flush()
            os.fsync(file.fileno())  # after a power cut an empty file would say that all of this is another's
        made.replace(path)
    create_private(path)
    _former(database).unlink(missing_ok=True)


def check_not_lost(database: Path) -> None:
    """Refuse a directory whose database is gone or empty although it had one.

    Raises:
        Terminal: ``DatabaseMissing``.
    """
    if database.exists() and database.stat().st_size > 0:
        return
    trace = _trace(database)
    if trace is not None:
        message = f"{database} is gone or empty although {trace} shows that there was one; nothing was touched: {_OUT}"
        raise Terminal("DatabaseMissing", message)


def check_same(database: Path, identity: str) -> None:
    """Refuse a database of another installation than the directory's.

    Raises:
        Terminal: ``InstallationMismatch``.
    """
    known = known_installation(database)
    if known is not None and known != identity:
        raise Terminal(
            "InstallationMismatch",
            f"{database} belongs to installation {identity}, but {installation_file(database)} says that this "
            f"directory is {known}'s: put the right state.db back, or remove that file if this one is right; nothing "
            "was touched",
        )


def check_uuid(text: str) -> str:
    """Return the text if it is an installation's id.

    Raises:
        Terminal: ``InstallationUnknown``.
    """
    if not _is_uuid(text):
        raise Terminal("InstallationUnknown", f"{text!r} is no installation's id, which is a UUID")
    return text


def create_private(path: Path) -> None:
    """Make the file with mode 0600 if it is not there, owned by its folder's owner where we are root."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        folder = path.parent.stat()
        if os.geteuid() == 0 and folder.st_uid != os.fstat(descriptor).st_uid:
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
    finally:
        os.close(descriptor)


def _trace(database: Path) -> Path | None:
    instances = database.with_name("instances")
    for path in (installation_file(database), _former(database)):
        if path.exists():
            return path
    return instances if instances.is_dir() and any(instances.iterdir()) else None


def _former(database: Path) -> Path:
    """Return where the id was kept before; still read, so that an upgrade knows its directory."""
    return database.with_name(f"{database.name}{_FORMER_SUFFIX}")


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
