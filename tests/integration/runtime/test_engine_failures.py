"""An engine that is not there, hangs, or forgets: verbs end in time and say so, watches carry on."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from contracts.runtime_world import Watcher, launch, look, watching
from controller.errors import Unavailable
from controller.runtime.docker import DockerRuntime
from controller.settings import Settings
from support.docker_world import DockerWorld
from support.engine_proxy import EngineProxy

pytestmark = pytest.mark.docker


@pytest.fixture
def impatient(world: DockerWorld) -> Iterator[DockerRuntime]:
    """A runtime of the same installation that gives the engine one second."""
    client = docker.APIClient(base_url=world.proxy.url, version=world.admin.api_version, timeout=1)
    runtime = DockerRuntime(installation=f"ours-{world.run}", prefix=world.prefix, network=world.network, client=client)
    yield runtime
    runtime.close()


# docker 7.2 leaves the socket of a connection that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_it_can_be_made_before_there_is_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "late.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    settings = Settings(container_prefix="ccot-late", network="ccot-late")
    runtime = DockerRuntime.from_settings(settings, "late")
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            runtime.list()
        assert caught.value.reason == "RuntimeUnavailable"
        assert str(path) in caught.value.message
    del caught
    gc.collect()
    with EngineProxy(path):
        assert runtime.list() == ()
        runtime.close()


def test_a_hanging_engine_is_unavailable_in_time(world: DockerWorld, impatient: DockerRuntime) -> None:
    spec = world.spec()
    before = launch(world, spec)
    world.proxy.go_silent()
    for verb in (
        lambda: impatient.inspect(spec.uid),
        lambda: impatient.create(world.spec("other")),
        lambda: impatient.remove(spec.uid),
    ):
        begin = time.monotonic()
        with pytest.raises(Unavailable):
            verb()
        assert time.monotonic() - begin < 2
    world.proxy.cut()
    world.proxy.serve()
    assert look(world, spec) == before


def test_a_watch_on_a_hanging_engine_ends_within_a_second(world: DockerWorld) -> None:
    world.proxy.go_silent()
    watcher = Watcher(world.runtime)
    watcher.drain()
    assert watcher.finish() < 1


def test_more_events_than_the_engine_keeps(world: DockerWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    with watching(world.runtime) as watcher:
        world.proxy.refuse()
        container = world.container(spec.uid)
        for number in range(300):
            world.admin.rename(container, f"{world.prefix}-renamed-{number}")
        world.proxy.serve()
        watcher.expect_resync()
    assert look(world, spec).name == f"{world.prefix}-renamed-299"


def test_reconnecting_is_not_a_hot_loop(world: DockerWorld) -> None:
    with watching(world.runtime) as watcher:
        world.proxy.refuse()
        before = world.proxy.connections
        end = time.monotonic() + 2
        while time.monotonic() < end:
            watcher.drain()
        assert world.proxy.connections - before <= 6
        world.proxy.serve()
        watcher.expect_resync()
