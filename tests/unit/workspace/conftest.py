"""Real git in folders that the repository's owner and the agent may enter."""

from __future__ import annotations

from support.git_fixtures import any_world, world

__all__ = ["any_world", "world"]
