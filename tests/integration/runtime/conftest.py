"""A world on the real engine for the tests of the Docker runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.docker_world import DockerWorld, docker_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DockerWorld]:
    yield from docker_world(tmp_path)
