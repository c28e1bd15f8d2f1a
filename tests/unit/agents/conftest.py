"""Real sockets in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.agents import AgentLinks, credentials
from support.agent_peer import Secrets, Woken
from support.looks import UID


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def no_old_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every report be a reason to look at the credentials."""
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.0)


@pytest.fixture
def links(tmp_path: Path, secrets: Secrets, woken: Woken) -> Iterator[AgentLinks]:
    made = AgentLinks(lambda _: tmp_path / "run", secrets.read, woken)
    made.open("web", UID)
    yield made
    made.close()
