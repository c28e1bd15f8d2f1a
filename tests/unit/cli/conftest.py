from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import Cco
from support.installation import Installation


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of the machine's user reaches a test."""
    for name in list(os.environ):
        if name.startswith("CCO_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CCO_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("CCO_STATE_DIR", str(tmp_path / "state"))
    return monkeypatch


@pytest.fixture
def installation(
    tmp_path_factory: pytest.TempPathFactory, own_environment: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """The real API over the real store and loop, listening on this machine; only engine and git are fakes."""
    with Installation(tmp_path_factory.mktemp("i")) as made:
        own_environment.setenv("CCO_STATE_DIR", str(made.settings.state_dir))
        own_environment.setenv("CCO_SERVER", made.address)
        yield made


@pytest.fixture
def shop(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registered repository, and the current folder inside it."""
    path = installation.repository(tmp_path / "shop", "shop")
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def cco() -> Cco:
    return Cco()
