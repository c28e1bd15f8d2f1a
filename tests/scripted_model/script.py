"""The prompt language: what the model does next, decided from the request alone.

A test (or a person at a demo) writes the model's behaviour into the prompt it sends to Claude Code::

    STEP write notes.txt Some words. STEP bash git add -A && git commit -m notes STEP say All done.

The client sends the whole conversation with every request, so the server keeps no state: `conversation` finds
the newest human text and how many answers it already got, and `next_turn` picks the step. `stream` turns the
resulting `Turn` into server-sent events; `server` does the talking.

Steps (several may share one line): ``bash CMD``, ``write PATH TEXT``, ``ask QUESTION``,
``task SUB bash … SUB say …``, ``tool NAME JSON``, ``sleep SECONDS``, ``fail CODE [N]`` (the first N
requests; without N, all of them), ``say TEXT``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .conversation import Conversation

VERBS = ("bash", "write", "ask", "task", "tool", "sleep", "fail", "say")
_STEP = re.compile(rf"\bSTEP\s+({'|'.join(VERBS)})\b[ \t]*")
_SUB_STEP = re.compile(rf"\bSUB\s+(?=(?:{'|'.join(VERBS)})\b)")


class ScriptError(ValueError):
    """A prompt holds a STEP that cannot be played; the message says which and why."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One `tool_use` block."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the model: text and at most one tool call, after `delay` seconds, or an HTTP error."""

    text: str = ""
    tool: ToolCall | None = None
    delay: float = 0.0
    fail_status: int | None = None
    fail_times: int | None = None


@dataclass(slots=True)
class _Draft:
    """A turn being collected: pauses, failures and words come before the tool that closes it."""

    words: list[str] = field(default_factory=list)
    delay: float = 0.0
    fail_status: int | None = None
    fail_times: int | None = None

    def close(self, tool: ToolCall | None) -> Turn:
        return Turn("\n".join(self.words), tool, self.delay, self.fail_status, self.fail_times)

    @property
    def started(self) -> bool:
        return bool(self.words or self.delay or self.fail_status)


def next_turn(conversation: Conversation) -> Turn:
    """The model's next answer.

    Raises:
        ScriptError: the prompt holds a STEP that cannot be played.
    """
    prompt = conversation.prompt
    if _STEP.search(prompt):
        turns = parse(prompt, conversation)
        return turns[min(conversation.answers, len(turns) - 1)]
    if prompt.startswith("<task-notification>"):
        return Turn("The sub-agent finished; noted.")
    return _greet(conversation)


def parse(prompt: str, conversation: Conversation) -> list[Turn]:
    """The turns of a prompt holding STEPs; the last one has no tool call and ends the client's turn.

    Raises:
        ScriptError: a step's arguments are missing or malformed.
    """
    turns: list[Turn] = []
    draft = _Draft()
    matches = list(_STEP.finditer(prompt))
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        argument = prompt[match.end() : following.start() if following else len(prompt)].strip()
        verb = match[1]
        if verb == "say":
            draft.words.append(argument)
        elif verb == "sleep":
            draft.delay += _number(verb, argument)
        elif verb == "fail":
            status, _, times = argument.partition(" ")
            draft.fail_status = int(_number(verb, status))
            draft.fail_times = int(_number(verb, times)) if times.strip() else None
        else:
            turns.append(draft.close(_TOOLS[verb](argument, conversation)))
            draft = _Draft()
    if not draft.words:
        draft.words.append("Done.")
    turns.append(draft.close(None))
    return turns


def _number(verb: str, argument: str) -> float:
    try:
        return float(argument.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        raise ScriptError(f"STEP {verb} needs a number, got {argument!r}") from None


def _bash(argument: str, _: Conversation) -> ToolCall:
    return bash(argument)


def bash(command: str, description: str = "Run the scripted command") -> ToolCall:
    """A call of the client's Bash tool."""
    return ToolCall("Bash", {"command": command, "description": description})


def _write(argument: str, conversation: Conversation) -> ToolCall:
    path, _sep, text = argument.partition(" ")
    if not path:
        raise ScriptError("STEP write needs a path and a text")
    return ToolCall("Write", {"file_path": conversation.absolute(path), "content": text + "\n"})


def _ask(question: str, _: Conversation) -> ToolCall:
    options = [
        {"label": "Yes", "description": "Agree"},
        {"label": "No", "description": "Disagree"},
    ]
    asked = {"question": question, "header": "Question", "options": options, "multiSelect": False}
    return ToolCall("AskUserQuestion", {"questions": [asked]})


def _task(argument: str, conversation: Conversation) -> ToolCall:
    name = next((tool for tool in ("Agent", "Task") if tool in conversation.tools), "Task")
    prompt = _SUB_STEP.sub("STEP ", argument)
    return ToolCall(name, {"description": "Scripted sub-agent", "prompt": prompt, "subagent_type": "general-purpose"})


def _tool(argument: str, _: Conversation) -> ToolCall:
    name, _sep, text = argument.partition(" ")
    try:
        arguments = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ScriptError(f"STEP tool {name} needs a JSON object: {error}") from None
    if not isinstance(arguments, dict):
        raise ScriptError(f"STEP tool {name} needs a JSON object, got {text!r}")
    return ToolCall(name, arguments)


_TOOLS: dict[str, Callable[[str, Conversation], ToolCall]] = {
    "bash": _bash,
    "write": _write,
    "ask": _ask,
    "task": _task,
    "tool": _tool,
}


def _greet(conversation: Conversation) -> Turn:
    """What happens without STEPs: a file, a commit, a friendly word; once per prompt of the conversation."""
    number = conversation.human_count
    name = "hello.txt" if number <= 1 else f"hello-{number}.txt"
    asked = _first_line(conversation.prompt)
    line = f"Hello from Claude Code! You asked: {asked}"
    turns: Sequence[Turn] = (
        Turn(
            f"Happy to help. I'll write {name} and commit it on this branch.",
            ToolCall("Write", {"file_path": conversation.absolute(name), "content": line + "\n"}),
        ),
        Turn(
            "The file is there. Now the commit.",
            bash(f'git add -- {name} && git commit -m "Add {name}"', f"Commit {name}"),
        ),
        Turn(
            f"Done: {name} is written and committed on this branch.\n\n"
            "I am the scripted model of the demo, so that is all I can do by myself. "
            "Send me another prompt and I will write another file."
        ),
    )
    turn = turns[min(conversation.answers, len(turns) - 1)]
    if conversation.answers == 1 and conversation.last_tool_failed:
        # The client's Write refuses to replace a file it has not read: it was there before this conversation.
        command = f"echo 'Hello again from Claude Code!' >> {name} && git add -- {name}"
        again = bash(f'{command} && git commit -m "Extend {name}"', f"Extend and commit {name}")
        return replace(turn, text=f"{name} exists already, so I'll add a line to it.", tool=again)
    return turn


def _first_line(text: str, limit: int = 60) -> str:
    line = text.strip().splitlines()[0] if text.strip() else "nothing in particular"
    return line if len(line) <= limit else line[: limit - 1] + "…"
