"""The firewall rules that docs/security.md tells to type are typed here, and close what they are said to close."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.runtime_world import launch
from support.docker_world import DockerWorld

pytestmark = pytest.mark.docker

PAGE = (Path(__file__).parents[3] / "docs/security.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^```sh\n(network=cc-orchestrator\n.+?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
METADATA = "169.254.169.254/80"
ELSEWHERE = "198.51.100.7/443"  # RFC 5737: nobody's


@contextmanager
def typed(recipe: str, network: str) -> Iterator[None]:
    """Type the recipe for a network; afterwards take exactly its rules back."""
    script = recipe.replace("network=cc-orchestrator", f"network={network}").replace("ADDRESS", "203.0.113.9")
    run(script)
    try:
        yield
    finally:
        run(script.replace("iptables -I", "iptables -D"))


def run(script: str) -> None:
    subprocess.run(["sh", "-euc", script], check=True, capture_output=True, timeout=60)


@contextmanager
def service(address: str) -> Iterator[int]:
    """Listen on an address of this machine, as a careless service does on all of them."""
    with socket.create_server((address, 0)) as listener:
        listener.settimeout(0.2)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    listener.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            over.set()
            thread.join(10)


def reach(world: DockerWorld, uid: str, target: str) -> str:
    """Return ``open``, ``refused``, or what else came of it within a few seconds."""
    said = world.sh(uid, f"timeout 3 bash -c '</dev/tcp/{target}' && echo open")
    return "refused" if "refused" in said else said.strip()


def test_there_are_two_recipes() -> None:
    assert len(RECIPES) == 2


def test_the_first_closes_this_machine_and_its_metadata(world: DockerWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    gateway = world.admin.inspect_network(world.network)["IPAM"]["Config"][0]["Gateway"]
    with service(gateway) as port:
        target = f"{gateway}/{port}"
        assert reach(world, spec.uid, target) == "open", "which is why the recipe is there"
        assert reach(world, spec.uid, METADATA) != "refused"
        with typed(RECIPES[0], world.network):
            assert reach(world, spec.uid, target) == "refused"
            assert reach(world, spec.uid, METADATA) == "refused"
            assert reach(world, spec.uid, ELSEWHERE) != "refused", "the way out stays open"
        assert reach(world, spec.uid, target) == "open", "the test took its rules back"


def test_the_second_closes_everything_that_is_not_named(world: DockerWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    with typed(RECIPES[1], world.network):
        assert reach(world, spec.uid, ELSEWHERE) == "refused"
        assert reach(world, spec.uid, METADATA) == "refused"
        assert reach(world, spec.uid, "203.0.113.9/443") != "refused", "the named address"
