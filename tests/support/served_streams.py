"""The controller's socket, served for a test, and asked over real HTTP."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.reconcile.actions import Plan
from controller.resources import Instance
from controller.runtime.choice import only
from controller.runtime.protocol import Limits, WorkloadSpec
from controller.streams import Route, StreamServer, server
from controller.streams.instances import InstanceStreams
from support.fake_engine import IMAGE, FakeContainer, FakeEngine
from support.fake_runtime import FakeRuntime
from support.looks import STARTED, UID, healthy_status, instance

LONGEST_SECONDS = 10.0


@pytest.fixture
def path() -> Iterator[Path]:
    """A path that is short enough for a socket, whatever the test is called."""
    with tempfile.TemporaryDirectory(prefix="cco-streams-") as folder:
        yield Path(folder) / "controller.sock"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server see the stop soon, in every file that imports this."""
    monkeypatch.setattr(server, "POLL_SECONDS", 0.01)


@contextmanager
def served(path: Path, streams: InstanceStreams) -> Iterator[httpx.Client]:
    """Serve what is asked about instances on the path and give a client."""
    with served_routes(path, streams.routes()) as made:
        yield made


@contextmanager
def served_routes(
    path: Path, routes: Sequence[Route], fence: Callable[[], None] = lambda: None
) -> Iterator[httpx.Client]:
    """Serve on the path and give a client."""
    serving = StreamServer(path, routes, fence)
    serving.start()
    transport = httpx.HTTPTransport(uds=str(path))
    try:
        with httpx.Client(transport=transport, base_url="http://controller", timeout=LONGEST_SECONDS) as made:
            yield made
    finally:
        serving.stop()


# One instance, whose container has printed something --------------------------------------------------------------


def get(name: str) -> Instance:
    """Know one instance by whatever name."""
    session = {"state": "idle", "since": STARTED}
    made = instance(status=healthy_status(session=session))
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"name": name})})


@pytest.fixture
def container() -> FakeContainer:
    engine = FakeEngine()
    runtime = FakeRuntime(engine)
    runtime.create(WorkloadSpec("web", UID, 1, IMAGE, "hash", Limits(1.0, 2**30, 64), (), (1000, 1000), "/work"))
    runtime.start(UID, 1)
    (made,) = engine.containers.values()
    return made


def streams(container: FakeContainer, preview: Callable[[Instance], Plan] = lambda _: Plan()) -> InstanceStreams:
    engine = FakeEngine()
    engine.containers[container.seen.name] = container
    return InstanceStreams(get, preview, only(FakeRuntime(engine)))


def problem(response: httpx.Response) -> tuple[int, str, str]:
    """Return status, reason and detail, having checked that it is a problem document as RFC 9457 has it."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "title", "status", "detail", "reason"}
    assert body["status"] == response.status_code
    assert body["title"]
    return response.status_code, body["reason"], body["detail"]


@pytest.fixture
def client(path: Path, container: FakeContainer) -> Iterator[httpx.Client]:
    with served(path, streams(container)) as made:
        yield made


def ask(path: Path) -> int:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=LONGEST_SECONDS) as client:
        return client.get("http://controller/instances/web/plan").status_code
