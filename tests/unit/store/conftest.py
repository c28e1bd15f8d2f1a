"""Real SQLite files; a store per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.resources import InstanceManifest, RepositoryManifest
from controller.store import Store
from support.ready_database import open_ready

NewInstance = Callable[..., InstanceManifest]


def instance_manifest(name: str = "web", labels: dict[str, str] | None = None, **spec: Any) -> InstanceManifest:  # noqa: ANN401 - any field of a spec
    return InstanceManifest.model_validate(
        {"metadata": {"name": name, "labels": labels or {}}, "spec": {"repository": "shop", **spec}}
    )


def repository_manifest(name: str = "shop", **spec: Any) -> RepositoryManifest:  # noqa: ANN401 - any field of a spec
    return RepositoryManifest.model_validate({"metadata": {"name": name}, "spec": {"path": f"/srv/{name}", **spec}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_ready(path) as opened:
        yield opened


@pytest.fixture
def new_instance() -> NewInstance:
    return instance_manifest


@pytest.fixture
def new_repository() -> Callable[..., RepositoryManifest]:
    return repository_manifest
