"""What is learnt about Claude, from whom, and when: the input of `session`.

Times are seconds since the epoch. Everything here was written by Claude Code or by what runs inside the container,
so it is read defensively: a field of another type is a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FileState = Literal["idle", "working", "waiting"]

_FILE_STATES: dict[str, FileState] = {
    "idle": "idle",
    # The turn is over and a command goes on in the background: the prompt takes input.
    "shell": "idle",
    "busy": "working",
    "waiting": "waiting",
}
_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Launched:
    """Claude's process is there; `prompted` when its command line holds a prompt."""

    at: float
    pid: int
    session_id: str
    prompted: bool


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook of Claude Code.

    Attributes:
        name: `hook_event_name`.
        agent: id of the sub-agent it is about; ``None`` is the main conversation.
        tool: the tool's name.
        call: which call of the tool; PermissionRequest does not tell.
        options: for a question with one answer to choose, the answers offered.
        source: of SessionStart: startup, resume, clear, compact.
        reason: of SessionEnd.
        trouble: of StopFailure: what went wrong, for a person.
        notification: of Notification: its type.
        agents_run: of Stop: sub-agents go on in the background.
        prompt: of UserPromptSubmit: the text.
        answers: of PostToolUse of a question: what was answered.
    """

    at: float
    name: str
    session_id: str | None = None
    agent: str | None = None
    tool: str | None = None
    call: str | None = None
    options: tuple[str, ...] = ()
    source: str | None = None
    reason: str | None = None
    trouble: str | None = None
    notification: str | None = None
    agents_run: bool = False
    prompt: str | None = None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What Claude's session file says since `at`; only changes are facts."""

    at: float
    state: FileState
    waiting_for: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Died:
    """Claude's process ended; status or signal as far as tmux knew."""

    at: float
    status: int | None
    signal: int | None
    detail: str | None = None


Fact = Launched | Hook | FileStatus | Died


def read_hook(data: Mapping[str, Any], at: float) -> Hook | None:
    """A hook's JSON; ``None`` when it is none."""
    name = _text(data, "hook_event_name")
    if name is None:
        return None
    return Hook(
        at=at,
        name=name,
        session_id=_text(data, "session_id"),
        agent=_text(data, "agent_id"),
        tool=_text(data, "tool_name"),
        call=_text(data, "tool_use_id"),
        options=_options(data.get("tool_input")),
        source=_text(data, "source"),
        reason=_text(data, "reason"),
        trouble=_trouble(data),
        notification=_text(data, "notification_type"),
        agents_run=_agents_run(data.get("background_tasks")),
        prompt=data["prompt"] if isinstance(data.get("prompt"), str) else None,
        answers=_answers(data.get("tool_response")),
    )


def read_session_file(data: Mapping[str, Any], seen_at: float) -> FileStatus | None:
    """A session file's JSON (an internal of Claude Code 2.1); ``None`` when it says nothing that we know."""
    state = _FILE_STATES.get(_text(data, "status") or "")
    if state is None:
        return None
    changed = data.get("statusUpdatedAt")
    at = changed / 1000 if isinstance(changed, int | float) and 0 < changed / 1000 <= seen_at else seen_at
    waiting_for = (_text(data, "waitingFor") or "dialog open") if state == "waiting" else None
    return FileStatus(at, state, waiting_for, _text(data, "sessionId"))


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return value[:_LIMIT] if isinstance(value, str) and value else None


def _trouble(data: Mapping[str, Any]) -> str | None:
    error, message = _text(data, "error"), _text(data, "last_assistant_message")
    return f"{error}: {message}" if error and message else error


def _agents_run(tasks: object) -> bool:
    # A shell command in the background may be a server that never ends; the session file then says "shell".
    running = tasks if isinstance(tasks, list) else []
    return any(isinstance(task, dict) and task.get("type") == "subagent" for task in running)


def _options(tool_input: object) -> tuple[str, ...]:
    questions = tool_input.get("questions") if isinstance(tool_input, dict) else None
    if not isinstance(questions, list) or len(questions) != 1 or not isinstance(questions[0], dict):
        return ()
    options = questions[0].get("options")
    if not isinstance(options, list) or questions[0].get("multiSelect"):
        return ()
    labels = [_text(option, "label") if isinstance(option, dict) else None for option in options]
    return tuple(label for label in labels if label is not None) if None not in labels else ()


def _answers(tool_response: object) -> tuple[str, ...]:
    answers = tool_response.get("answers") if isinstance(tool_response, dict) else None
    return tuple(a for a in answers.values() if isinstance(a, str)) if isinstance(answers, dict) else ()
