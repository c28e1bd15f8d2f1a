"""The contract of every runtime, on the real engine, and what Docker's runtime promises beyond it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from contracts.runtime import RuntimeContract
from contracts.runtime_world import launch
from controller.runtime.docker import DockerRuntime
from controller.runtime.docker.engine import Json
from support.docker_world import DockerWorld

pytestmark = pytest.mark.docker


class TestDockerRuntime(RuntimeContract):
    """See ``conftest.py`` for its world."""


class CountingRuntime(DockerRuntime):
    """Counts how many starts the engine is busy with at once."""

    busy = 0
    most = 0
    counting = threading.Lock()

    def _start(self, container: Json) -> None:
        with self.counting:
            self.busy += 1
            self.most = max(self.most, self.busy)
        super()._start(container)
        with self.counting:
            self.busy -= 1


def test_no_more_than_four_start_at_once(world: DockerWorld) -> None:
    runtime = CountingRuntime(
        installation=f"ours-{world.run}", prefix=world.prefix, network=world.network, client=world.admin
    )
    world.runtime = runtime
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: launch(world, world.spec(f"start-{number}")), range(8)))
    assert 1 < runtime.most <= 4


def test_the_names_people_see(world: DockerWorld) -> None:
    spec = world.spec()
    assert launch(world, spec).name == f"{world.prefix}-web-1"
    assert world.admin.inspect_volume(f"{world.prefix}-web-{spec.uid[:8]}-home")["Labels"] == {
        "cc-orchestrator.installation": f"ours-{world.run}",
        "cc-orchestrator.instance": "web",
        "cc-orchestrator.uid": spec.uid,
    }
