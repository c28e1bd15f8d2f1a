"""Real git in folders that the repository's owner and the agent may enter."""

from __future__ import annotations

import pytest

from support.git_fixtures import any_world, world

pytest.register_assert_rewrite("contracts")

__all__ = ["any_world", "world"]
