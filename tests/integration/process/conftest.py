"""A world of processes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.process_world import ProcessWorld, process_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    yield from process_world(tmp_path)
