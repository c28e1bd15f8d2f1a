"""Shows the values in failed assertions of what several tests share. Before anything of it is imported, hence here."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("contracts", "support")


@pytest.fixture(autouse=True)
def _same_umask() -> Iterator[None]:
    """Give the process its umask back: our programs, run inside a test, set one of their own."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
