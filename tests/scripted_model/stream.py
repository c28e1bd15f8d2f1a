"""The wire form of a turn: the Messages API's server-sent events, its plain JSON message, its error body.

From: https://docs.anthropic.com/en/api/messages-streaming (event names and order). `server` writes them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .script import Turn

INPUT_TOKENS = 1000
"""Input tokens of every answer: constant, so the costs that the client computes are predictable."""
OUTPUT_TOKENS = 50
"""Output tokens of every answer."""

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def usage() -> dict[str, int]:
    """The token counts of one whole answer."""
    return {
        "input_tokens": INPUT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def error(status: int, message: str) -> dict[str, Any]:
    """The body that goes with an HTTP error status."""
    kind = _ERROR_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def message(turn: Turn, *, number: int, model: str) -> dict[str, Any]:
    """The answer as one JSON object, for a request that did not ask for a stream."""
    content: list[dict[str, Any]] = []
    if turn.text:
        content.append({"type": "text", "text": turn.text})
    if turn.tool:
        content.append(
            {
                "type": "tool_use",
                "id": f"toolu_{number:08d}",
                "name": turn.tool.name,
                "input": dict(turn.tool.arguments),
            }
        )
    return {
        "id": f"msg_{number:08d}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "tool_use" if turn.tool else "end_turn",
        "stop_sequence": None,
        "usage": usage(),
    }


def events(turn: Turn, *, number: int, model: str) -> Iterator[bytes]:
    """The answer as server-sent events, one chunk each; text comes word by word."""
    whole = message(turn, number=number, model=model)
    start = {**whole, "content": [], "stop_reason": None, "usage": {**usage(), "output_tokens": 1}}
    yield _event("message_start", {"message": start})
    yield _event("ping", {})
    for index, block in enumerate(whole["content"]):
        if block["type"] == "text":
            empty: dict[str, Any] = {"type": "text", "text": ""}
            words = re.findall(r"\S+\s*|\s+", block["text"])
            deltas = [{"type": "text_delta", "text": word} for word in words]
        else:
            empty = {**block, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        yield _event("content_block_start", {"index": index, "content_block": empty})
        for delta in deltas:
            yield _event("content_block_delta", {"index": index, "delta": delta})
        yield _event("content_block_stop", {"index": index})
    end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", {"delta": end, "usage": {"output_tokens": OUTPUT_TOKENS}})
    yield _event("message_stop", {})


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
