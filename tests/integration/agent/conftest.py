"""The real image on a network of the tests' own; the only model it reaches is the scripted one."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from scripted_model import ScriptedModel
from support.agent_box import LABEL, AgentBox, Workspace, docker

ROOT = Path(__file__).parents[3]
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
def image() -> str:
    """The instance image as the tree has it now; from the cache where nothing changed."""
    built = subprocess.run(["make", "images"], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    services = json.loads(
        docker("compose", "--file", str(ROOT / "compose.yaml"), "--profile", "*", "config", "--format", "json")
    )
    return str(services["services"]["instance"]["image"])


@pytest.fixture(scope="session")
def network() -> Iterator[str]:
    name = f"cco-test-{uuid.uuid4().hex[:8]}"
    docker("network", "create", "--label", LABEL, "--opt", "com.docker.network.bridge.enable_icc=false", name)
    yield name
    docker("network", "rm", name, check=False)


@pytest.fixture
def model(network: str) -> Iterator[ScriptedModel]:
    """The scripted model, where containers on the network reach the host and nobody else does."""
    gateway = json.loads(docker("network", "inspect", network))[0]["IPAM"]["Config"][0]["Gateway"]
    with ScriptedModel(gateway) as server:
        yield server


@pytest.fixture
def make_box(
    image: str, network: str, model: ScriptedModel, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., AgentBox]]:
    """Makes boxes that are removed at the end; says what was on screen and in the log if the test failed."""
    boxes: list[AgentBox] = []

    def make(**settings: object) -> AgentBox:
        credentials = settings.pop("credentials", None)
        workspace = Workspace(tmp_path / f"box-{len(boxes)}")
        box = AgentBox(image, network, model.url, workspace, settings)
        if isinstance(credentials, dict):
            box.controller.credentials = credentials
        boxes.append(box)
        return box

    yield make
    for box in boxes:
        if request.node.stash.get(FAILED, False):
            print(box.screen(), box.logs(), sep="\n")  # noqa: T201 - pytest shows it with the failure
        box.close()


@pytest.fixture
def box(make_box: Callable[..., AgentBox]) -> AgentBox:
    """A running instance without a prompt, its Claude idle."""
    box = make_box()
    box.start()
    box.controller.wait_for_state("idle")
    return box
