"""Which conversation to go on with, and what was said in it: Claude's transcripts in HOME.

A transcript is made at the first prompt, not at the start; whether it exists decides between ``--session-id`` and
``--resume``, each of which fails in the other's case. ``/clear`` begins a new conversation under a new id: `Notes`
remembers the newest one, so that a restart goes on where the person left off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import files

_PASTED = re.compile(r"\s*<pasted_content\b[^>]*>\n?|\n?</pasted_content[^>]*>\n?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Notes:
    """What must outlive the container.

    Attributes:
        declared: the session id the instance was declared with; notes about another one count for nothing.
        newest: the session id of the newest conversation.
        prompted: the declared first prompt is in a transcript. Claude's word for having it is not enough: killed
            before it wrote the transcript, it would never do what it was told.
    """

    declared: str
    newest: str
    prompted: bool = False

    def followed(self, session_id: str | None) -> Notes:
        """The notes after Claude said which conversation it is in."""
        return replace(self, newest=session_id) if session_id and _UUID.fullmatch(session_id) else self


def read_notes(path: Path, declared: str) -> Notes:
    """Read the notes; unusable ones, or those of another declaration, are fresh ones."""
    data = files.read_json_object(path)
    if data.get("declared") != declared:
        return Notes(declared, declared)
    fresh = Notes(declared, declared, prompted=data.get("prompted") is True)
    newest = data.get("newest")
    return fresh.followed(newest if isinstance(newest, str) else None)


def write_notes(path: Path, notes: Notes) -> None:
    """Keep the notes.

    Raises:
        OSError: HOME cannot be written.
    """
    files.replace_json(path, asdict(notes))


def transcript(claude: Path, session_id: str) -> Path | None:
    """The transcript of a conversation, in whichever project folder Claude put it."""
    return next(iter(sorted((claude / "projects").glob(f"*/{session_id}.jsonl"))), None)


def set_aside_unusable(claude: Path, session_id: str) -> Path | None:
    """Rename a transcript in which Claude Code finds no conversation, so that a new one can begin under its id.

    With such a file there, ``--resume`` ends at once and ``--session-id`` calls the id taken: Claude would never start
    again. What makes it one was tried with Claude Code 2.1: not a single line that is an object with a ``uuid``, as
    after a crash of the machine that left an empty file. A damaged one with any such line is left to Claude.

    Returns:
        The new place, next to the old one; ``None`` where nothing had to be done.

    Raises:
        OSError: it cannot be read or renamed.
    """
    path = transcript(claude, session_id)
    if path is None or _holds_a_conversation(path):
        return None
    aside = path.with_name(f"{path.name}.unusable-{int(path.stat().st_mtime)}")
    path.rename(aside)
    return aside


def _holds_a_conversation(path: Path) -> bool:
    with path.open("rb") as lines:
        return any(isinstance(_object(line).get("uuid"), str) for line in lines)


def was_said(path: Path, text: str, offset: int = 0) -> bool:
    """Whether a person's message with this text is in a transcript, from a byte on.

    Lines that cannot be read are passed over.
    """
    wanted = comparable(text)
    try:
        with path.open("rb") as lines:
            lines.seek(offset)
            return any(comparable(said) == wanted for line in lines for said in _human_texts(line))
    except OSError:
        return False


def comparable(text: str) -> str:
    """A prompt as Claude may have recorded it: without the marks around a paste, and with all blanks alike.

    In a queue, or in a hurry, Claude drops blanks at the ends and makes four of a tab; it is the same prompt.
    """
    return " ".join(_PASTED.sub(" ", text).split())


def _object(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _human_texts(line: bytes) -> Iterator[str]:
    entry = _object(line)
    if entry.get("type") != "user":
        return
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            if isinstance(block, dict) and isinstance(block.get("text"), str):
                yield block["text"]
