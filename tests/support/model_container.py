"""The scripted model server in a container, where instances reach it: at their network's gateway address."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .deadline import eventually

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # its reaper is an image of its own; labels are our reaper
from testcontainers.core.container import DockerContainer  # reads the variable when it is imported

TESTS = Path(__file__).parents[1]
IMAGE = "cc-orchestrator/controller:0.1.0"
LABEL = {"cco-test": "1"}
NETWORK = "cc-orchestrator"


@dataclass(frozen=True, slots=True)
class Model:
    """A running model server."""

    url: str

    def requests(self) -> list[dict[str, Any]]:
        """Return what it was asked, oldest first."""
        with urllib.request.urlopen(f"{self.url}/_requests", timeout=5) as answer:  # noqa: S310  # our own address
            found: list[dict[str, Any]] = json.load(answer)["requests"]
        return found

    def prompts(self) -> list[str]:
        """Return the newest human text of every request."""
        return [str(request["prompt"]) for request in self.requests()]


def ensure_network() -> str:
    """Return the gateway address of the instances' network, made as the controller makes it if it is missing."""
    inspect = ["docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", NETWORK]
    found = subprocess.run(inspect, capture_output=True, text=True, timeout=30, check=False)
    if found.returncode != 0:
        options = ["--driver", "bridge", "--label", "cc-orchestrator.network=instances"]
        icc = ["--opt", "com.docker.network.bridge.enable_icc=false"]
        subprocess.run(["docker", "network", "create", *options, *icc, NETWORK], check=True, timeout=30)
        found = subprocess.run(inspect, capture_output=True, text=True, timeout=30, check=True)
    return found.stdout.strip()


def free_port(host: str) -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def model_container() -> Iterator[Model]:
    """Run the server for the length of the block."""
    gateway = ensure_network()
    port = free_port(gateway)
    container = (
        DockerContainer(IMAGE)
        .with_volume_mapping(str(TESTS / "scripted_model"), "/model/scripted_model", "ro")
        .with_env("PYTHONDONTWRITEBYTECODE", "1")
        .with_kwargs(
            entrypoint=["python3", "-m", "scripted_model", "--host", gateway, "--port", str(port)],
            working_dir="/model",
            network_mode="host",
            user="65534:65534",
            labels=LABEL,
            init=True,
        )
    )
    with container:
        model = Model(f"http://{gateway}:{port}")
        eventually(lambda: model.requests() == [], timeout=30, what="the model server answers")
        yield model


@contextmanager
def away(model: Model) -> Iterator[None]:
    """Kill the server for the length of the block; the one that answers afterwards has forgotten what it was asked."""
    listed = ["docker", "ps", "-q", "--filter", "label=cco-test=1"]
    names = subprocess.run(listed, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    described = subprocess.run(["docker", "container", "inspect", *names], capture_output=True, timeout=60, check=False)
    port = model.url.rpartition(":")[2]
    (container,) = [each["Id"] for each in json.loads(described.stdout) if each["Args"][-2:] == ["--port", port]]
    subprocess.run(["docker", "kill", container], stdout=subprocess.DEVNULL, timeout=60, check=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "start", container], stdout=subprocess.DEVNULL, timeout=60, check=True)
        eventually(lambda: model.requests() is not None, timeout=30, what="the model server answers again")
