"""The contract of every runtime, on processes of this machine."""

from __future__ import annotations

from contracts.runtime import RuntimeContract


class TestProcessRuntime(RuntimeContract):
    """See ``conftest.py`` for its world."""
