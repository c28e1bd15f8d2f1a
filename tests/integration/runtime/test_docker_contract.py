"""The contract of every runtime, on the real engine."""

from __future__ import annotations

import pytest

from contracts.runtime import RuntimeContract

pytestmark = pytest.mark.docker


class TestDockerRuntime(RuntimeContract):
    """See ``conftest.py`` for its world."""
