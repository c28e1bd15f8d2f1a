"""Claude's own files in HOME, made so that an unattended start meets no dialog.

Everything is merged: what a person or Claude put there stays. The keys are Claude Code's, found by starting version
2.1.328 on an empty HOME and looking at each dialog:

- ``hasCompletedOnboarding``: without it the first start checks api.anthropic.com and exits.
- ``projects[P].hasTrustDialogAccepted``: "do you trust this folder?", whose default is to exit.
- ``bypassPermissionsModeAccepted``: the warning of that mode, whose default is to exit.
- ``hasSeenAutoDefaultNotice``: a banner about the default mode.

The permission mode is never seeded: it is always on the command line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import credentials, files

logger = logging.getLogger(__name__)


def seed(claude_json: Path, trusted: Iterable[Path]) -> None:
    """Answer every dialog beforehand in ``~/.claude.json``. Idempotent.

    Raises:
        OSError: HOME cannot be written.
    """
    state: dict[str, Any] = files.read_json_object(claude_json)
    wanted = {
        **state,
        "hasCompletedOnboarding": True,
        "hasSeenAutoDefaultNotice": True,
        "bypassPermissionsModeAccepted": True,
        "projects": _trust(state.get("projects"), trusted),
    }
    wanted.setdefault("theme", "dark")
    if wanted != state:
        files.replace_json(claude_json, wanted)


def _trust(projects: object, trusted: Iterable[Path]) -> dict[str, Any]:
    known: dict[str, Any] = dict(projects) if isinstance(projects, dict) else {}
    for path in trusted:
        entry = known.get(str(path))
        known[str(path)] = {**(entry if isinstance(entry, dict) else {}), "hasTrustDialogAccepted": True}
    return known


def set_key_helper(settings: Path, command: str, *, wanted: bool) -> None:
    """Make Claude's settings name our ``apiKeyHelper``, or none of ours; a user's own one stays. Idempotent.

    Args:
        settings: Claude's settings in HOME; one of ours in it may be that of an earlier run, and is replaced.
        command: the helper of this run.
        wanted: the key is what Claude is to use.

    Raises:
        OSError: HOME cannot be written.
    """
    state = files.read_json_object(settings)
    helper = state.get("apiKeyHelper")
    if helper is not None and helper != command and not credentials.is_own_helper(helper):
        if wanted:
            logger.warning("api key helper of the user was kept", extra={"cco_settings": str(settings)})
        return
    rest = {name: value for name, value in state.items() if name != "apiKeyHelper"}
    wanted_state = {**rest, "apiKeyHelper": command} if wanted else rest
    if wanted_state != state:
        files.replace_json(settings, wanted_state)


def drop_stale_sessions(claude: Path) -> None:
    """Remove the session files of processes that died with an earlier container: their pids come again."""
    for path in (claude / "sessions").glob("*"):
        path.unlink(missing_ok=True)


def trusted_folders(workdir: Path, git_dir: Path) -> list[Path]:
    """The worktree, and the repository it belongs to, which is what Claude asks about for a worktree."""
    folders = [workdir, workdir.resolve()]
    try:
        alternates = (git_dir / "objects" / "info" / "alternates").read_text(encoding="utf-8").splitlines()
    except OSError:
        alternates = []
    for line in alternates:
        # …/REPOSITORY/.git/objects, or …/REPOSITORY.git/objects of a bare one.
        objects = Path(line)
        folders.append(objects.parent.parent if objects.parent.name == ".git" else objects.parent)
    return list(dict.fromkeys(folders))
