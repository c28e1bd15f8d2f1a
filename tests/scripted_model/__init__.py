"""A model server that plays scripts: Claude Code talks to it as if it were the Anthropic API.

Start at `server` (HTTP), then `conversation` (what was asked), `script` (what to answer), `stream` (how).
"""

from .server import Record, ScriptedModel, secret_hash

__all__ = ["Record", "ScriptedModel", "secret_hash"]
