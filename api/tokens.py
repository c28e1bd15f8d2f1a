"""The API token: made at the first start, readable by its owner only; and where the server may listen."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
from pathlib import Path
from typing import Final

from controller.errors import Terminal
from controller.settings import Settings

MIN_TOKEN_CHARACTERS: Final = 20


def load_or_create_token(settings: Settings) -> str:
    """Return the token in ``settings.token_file``, made first if there is none; several processes may race.

    Raises:
        Terminal: ``TokenUnreadable``, ``WeakToken``.
    """
    path = settings.token_file
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Terminal(
            "TokenUnreadable",
            f"{path}: the API token cannot be read or made ({error}): run as the user that owns {path.parent}",
        ) from error
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise Terminal(
            "WeakToken",
            f"{path} holds a token of {len(token)} characters; at least {MIN_TOKEN_CHARACTERS} are needed: delete "
            "the file and a good one is made at the next start",
        )
    return token


def _create(path: Path) -> None:
    """Make the file complete or not at all: written beside, then linked, which fails if somebody was faster."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            folder = path.parent.stat()
            if os.geteuid() == 0 and folder.st_uid != 0:
                os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
            file.flush()
            os.fsync(file.fileno())  # after a power cut an empty file would be a token that nobody is to use
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()


def check_listen(settings: Settings) -> None:
    """Refuse to listen beyond this machine unless a token guards the door.

    Raises:
        Terminal: ``ListenRefused``.
    """
    if is_loopback(settings.host):
        return
    path = settings.token_file
    try:
        guarded = len(path.read_text(encoding="ascii").strip()) >= MIN_TOKEN_CHARACTERS and not (
            path.stat().st_mode & 0o077
        )
    except (OSError, UnicodeDecodeError):
        guarded = False
    if not guarded:
        raise Terminal(
            "ListenRefused",
            f"host {settings.host!r} is reachable from other machines and {path} holds no private token: set "
            "CCO_HOST=127.0.0.1, or let cc-orchestrator make the token first",
        )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
