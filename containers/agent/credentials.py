"""Claude's credentials: from the controller's socket to files that only this user can read, and on to Claude.

Each value becomes a file of mode 0400 on the secrets tmpfs, so it is in no image, volume, argv or `docker inspect`.
An API key reaches Claude through ``apiKeyHelper`` (Claude runs it again when the key is refused, so a new key needs
no restart, and there is no dialog about a key found in the environment). The two kinds of token are put into the
environment of the Claude process alone by `launch`. Only one kind is used: Claude warns when it finds two.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from . import files

logger = logging.getLogger(__name__)

API_KEY = "ANTHROPIC_API_KEY"
KINDS = ("ANTHROPIC_AUTH_TOKEN", API_KEY, "CLAUDE_CODE_OAUTH_TOKEN")
"""In the order in which Claude itself prefers them."""
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
_OWN_HELPER = re.compile(rf"cat (/run|/\S*/cco-[0-9a-f]{{12}})/secrets/{API_KEY}")
"""What `helper_command` says in a container, and in any run of an instance that is a process of its machine."""


def store(folder: Path, values: Mapping[str, object]) -> bool:
    """Make the folder hold exactly these values; returns whether anything changed. Idempotent.

    Names that are no environment variables, and values that are no text, are passed over and logged by name.

    Raises:
        OSError: the folder cannot be written.
    """
    wanted: dict[str, str] = {}
    for name, value in values.items():
        if _NAME.fullmatch(name) and isinstance(value, str) and value.strip():
            wanted[name] = value.strip()
        else:
            logger.warning("credential was ignored", extra={"cco_credential": name[:100]})
    changed = False
    for path in _held(folder):
        if path.name not in wanted:
            path.unlink()
            changed = True
    for name, value in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != value:
            files.replace(path, value.encode(), mode=0o400)
            changed = True
    return changed


def kind(folder: Path) -> str | None:
    """The name of the credential Claude is to use, or ``None`` when there is none."""
    return next((name for name in KINDS if (folder / name).is_file()), None)


def helper_command(folder: Path) -> str:
    """The ``apiKeyHelper`` of Claude's settings."""
    return f"cat {folder / API_KEY}"


def is_own_helper(command: object) -> bool:
    """Whether an ``apiKeyHelper`` was written by us, in this run or an earlier one whose folder is gone.

    HOME outlives a run, and without a container each run has a secrets folder of its own.
    """
    return isinstance(command, str) and _OWN_HELPER.fullmatch(command) is not None


def environment_files(folder: Path) -> dict[str, str]:
    """Which files become environment variables of Claude: the token in use, and whatever is no credential of Claude."""
    chosen = kind(folder)
    return {
        path.name: str(path)
        for path in _held(folder)
        if path.name not in KINDS or (path.name == chosen and chosen != API_KEY)
    }


def _held(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and _NAME.fullmatch(path.name))
