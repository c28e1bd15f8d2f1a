"""The real application on a real store; in-process, or behind a real server where streams are tested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.client import Client
from api.controller_link import ControllerLink
from controller.settings import Settings
from controller.store import Store
from support.api_world import BASE, TOKEN, RunningServer, repository_manifest
from support.in_process import InProcess
from support.ready_database import open_ready


@pytest.fixture
def token() -> str:
    return TOKEN


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CCO_CONFIG", str(tmp_path / "none.yaml"))
    for name in ("CCO_TOKEN", "CCO_TOKEN_FILE", "CCO_SERVER"):
        monkeypatch.delenv(name, raising=False)
    return Settings(state_dir=tmp_path / "s", max_instances=5)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with open_ready(settings.database) as opened:
        yield opened


@pytest.fixture
def app(store: Store, settings: Settings) -> FastAPI:
    return create_app(store, settings, TOKEN, ControllerLink(settings.controller_socket), public=("/assets/",))


@pytest.fixture
def transport(app: FastAPI) -> Iterator[InProcess]:
    with InProcess(app) as opened:
        yield opened


@pytest.fixture
def http(transport: InProcess) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    client = httpx.Client(transport=transport, base_url=BASE, headers=headers)
    yield client
    client.close()


@pytest.fixture
def stranger(transport: InProcess) -> Iterator[httpx.Client]:
    """Somebody without a token."""
    client = httpx.Client(transport=transport, base_url=BASE)
    yield client
    client.close()


@pytest.fixture
def client(transport: InProcess) -> Client:
    return Client(BASE, TOKEN, transport=transport)


@pytest.fixture
def shop(store: Store) -> str:
    return store.repositories.create(repository_manifest()).metadata.uid


@pytest.fixture
def server(app: FastAPI) -> Iterator[RunningServer]:
    running = RunningServer(app)
    yield running
    running.stop()
