"""What tests of the API send, and a real server to send it to."""

from __future__ import annotations

import socket
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI

from api.client import Client
from api.hub import Hub
from api.serving import Server
from controller.resources import InstanceManifest, RepositoryManifest

TOKEN = "test-token-" + "t" * 32
BASE = "http://127.0.0.1:8080"


def instance_body(name: str = "web", labels: dict[str, str] | None = None, **spec: object) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"repository": "shop", **spec}}


def repository_body(name: str = "shop", **spec: object) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"path": f"/srv/{name}", **spec}}


def instance_manifest(name: str = "web", labels: dict[str, str] | None = None, **spec: object) -> InstanceManifest:
    return InstanceManifest.model_validate(instance_body(name, labels, **spec))


def repository_manifest(name: str = "shop", **spec: object) -> RepositoryManifest:
    return RepositoryManifest.model_validate(repository_body(name, **spec))


class RunningServer:
    """Uvicorn in a thread, on a port of its own."""

    def __init__(self, app: FastAPI, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.hub: Hub = app.state.hub
        # A long grace, so that a test of stopping cannot be passed by it.
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        self._server = Server(config, self.hub)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="uvicorn")
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive(), "the server did not stop"

    def client(self) -> Client:
        return Client(self.url, TOKEN)
