"""Reading a `/v1/messages` request: who said what last, and how far the answer has come.

The client repeats the whole conversation in every request and mixes its own notes into the user's messages
(`<system-reminder>`, interruption marks, wrapped pastes). `Conversation` is what is left without those.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOT_HUMAN = ("<system-reminder>", "[Request interrupted by user", "<local-command-", "<command-")
_PASTED = re.compile(r"\n*<pasted_content\b[^>]*>\n|\n</pasted_content[^>]*>\n?")
_WORKING_DIRECTORY = re.compile(r"[Ww]orking directory:\s*(/[^\n]*)")


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request, read.

    Attributes:
        prompts: every human text of the conversation, oldest first, without the client's paste tags.
        answers: assistant messages after the newest human text.
        last_tool_failed: the newest tool result is an error.
        tools: names of the tools the client offers.
        directory: the client's working directory, if its system prompt tells.
        raw_prompt: the newest human text exactly as sent.
        wants_title: this is the side call that asks for a session title.
    """

    prompts: tuple[str, ...] = ()
    answers: int = 0
    last_tool_failed: bool = False
    tools: frozenset[str] = frozenset()
    directory: str | None = None
    raw_prompt: str = ""
    wants_title: bool = False

    @property
    def prompt(self) -> str:
        """The newest human text; empty if there is none."""
        return self.prompts[-1] if self.prompts else ""

    @property
    def human_count(self) -> int:
        """How many prompts came from a person, not from a finished background agent."""
        return sum(not prompt.startswith("<task-notification>") for prompt in self.prompts)

    def absolute(self, path: str) -> str:
        """The path as the client's file tools want it."""
        return str(PurePosixPath(self.directory or "/tmp") / path)  # noqa: S108 - a place that always exists


def read(request: Mapping[str, Any]) -> Conversation:
    """Read the JSON body of a `/v1/messages` request; unknown shapes are passed over."""
    raw: list[str] = []
    answers = 0
    failed = False
    for message in request.get("messages") or []:
        role = message.get("role")
        blocks = list(_blocks(message.get("content")))
        if role == "assistant":
            answers += 1
        elif role == "user":
            results = [block for block in blocks if block.get("type") == "tool_result"]
            failed = bool(results[-1].get("is_error")) if results else failed
            texts = [text for text in _texts(blocks) if not text.lstrip().startswith(_NOT_HUMAN)]
            if texts:
                raw.append(texts[-1])
                answers = 0
    tools = frozenset(str(tool.get("name")) for tool in request.get("tools") or [])
    return Conversation(
        prompts=tuple(strip_paste_tags(text) for text in raw),
        answers=answers,
        last_tool_failed=failed,
        tools=tools,
        directory=_directory(request),
        raw_prompt=raw[-1] if raw else "",
        wants_title=not tools and "output_config" in request,
    )


def strip_paste_tags(text: str) -> str:
    """A long paste as the person wrote it: the client wraps it in `<pasted_content id=…>`."""
    return _PASTED.sub("", text)


def _blocks(content: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict))


def _texts(blocks: list[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        if block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]


def _directory(request: Mapping[str, Any]) -> str | None:
    contents = [request.get("system"), *(m.get("content") for m in request.get("messages") or [])]
    for content in contents:
        for text in _texts(list(_blocks(content))):
            if match := _WORKING_DIRECTORY.search(text):
                return match[1].strip()
    return None
