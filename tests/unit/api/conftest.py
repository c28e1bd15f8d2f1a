"""The real application on a real store; in-process, or behind a real server where streams are tested."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from support.in_process import InProcess

from api.app import create_app
from api.client import Client
from api.controller_link import ControllerLink
from api.hub import Hub
from api.serving import Server
from controller.resources import InstanceManifest, RepositoryManifest
from controller.settings import Settings
from controller.store import Store

TOKEN = "test-token-" + "t" * 32
BASE = "http://127.0.0.1:8080"


def instance_body(name: str = "web", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any field of a spec
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"repository": "shop", **spec}}


def repository_body(name: str = "shop", **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any field of a spec
    return {"metadata": {"name": name}, "spec": {"path": f"/srv/{name}", **spec}}


@dataclass(frozen=True)
class Bodies:
    instance: Callable[..., dict[str, Any]] = instance_body
    repository: Callable[..., dict[str, Any]] = repository_body

    def instance_manifest(self, *args: Any, **spec: Any) -> InstanceManifest:  # noqa: ANN401 - as instance_body
        return InstanceManifest.model_validate(instance_body(*args, **spec))

    def repository_manifest(self, *args: Any, **spec: Any) -> RepositoryManifest:  # noqa: ANN401 - as repository_body
        return RepositoryManifest.model_validate(repository_body(*args, **spec))


@pytest.fixture
def bodies() -> Bodies:
    return Bodies()


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
    with Store.open(settings.database) as opened:
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
    return store.repositories.create(RepositoryManifest.model_validate(repository_body())).metadata.uid


class RunningServer:
    """Uvicorn in a thread, on a port of its own."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        self.server = Server(config, app.state.hub)
        self.hub: Hub = app.state.hub
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener
        self._thread = threading.Thread(target=self.server.run, args=([listener],), name="uvicorn")

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        self.server.should_exit = True
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the server did not stop"

    def client(self) -> Client:
        return Client(self.url, TOKEN)


@pytest.fixture
def server(app: FastAPI) -> Iterator[RunningServer]:
    listener = socket.create_server(("127.0.0.1", 0))
    running = RunningServer(app, listener)
    running.start()
    yield running
    running.stop()
    listener.close()
