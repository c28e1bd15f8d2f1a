"""What the real engine says of itself, and of a network that is there, absent, foreign or open."""

from __future__ import annotations

import gc
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from controller.errors import Conflict, Terminal, Unavailable
from controller.runtime.docker.facts import DockerFacts
from controller.runtime.docker.network import LABEL_NETWORK
from support.docker_world import LABEL, DockerWorld

pytestmark = pytest.mark.docker

_ICC = "com.docker.network.bridge.enable_icc"


@pytest.fixture
def facts(world: DockerWorld) -> Iterator[DockerFacts]:
    made = DockerFacts(world.network)
    yield made
    made.close()


def test_it_says_what_docker_info_shows(facts: DockerFacts) -> None:
    command = ["docker", "info", "--format", "{{json .}}"]
    shown: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    facts.ping()
    told = facts.facts()
    assert (told.version, told.storage_driver, told.root) == (
        shown["ServerVersion"],
        shown["Driver"],
        shown["DockerRootDir"],
    )
    assert (told.cpus, told.memory, told.live_restore) == (
        shown["NCPU"],
        shown["MemTotal"],
        shown["LiveRestoreEnabled"],
    )
    assert told.cgroup_version == shown["CgroupVersion"]
    assert list(told.security) == shown["SecurityOptions"]
    assert ("memory" in told.missing_limits) is not shown["MemoryLimit"]


def test_a_network_that_is_there_or_not_and_looking_makes_none(world: DockerWorld, facts: DockerFacts) -> None:
    assert facts.network() is None
    assert facts.network() is None
    world.runtime.prepare()
    assert world.network in (facts.network() or "")


def test_a_foreign_network(world: DockerWorld, facts: DockerFacts) -> None:
    world.admin.create_network(world.network, driver="bridge", labels={LABEL: world.run}, options={_ICC: "false"})
    with pytest.raises(Conflict, match="was not made by cc-orchestrator"):
        facts.network()


def test_a_network_that_does_not_keep_instances_apart(world: DockerWorld, facts: DockerFacts) -> None:
    labels = {LABEL: world.run, LABEL_NETWORK: "instances"}
    world.admin.create_network(world.network, driver="bridge", labels=labels, options={_ICC: "true"})
    with pytest.raises(Terminal, match="does not keep instances apart"):
        facts.network()


# docker 7.2 leaves the socket of a connection that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    facts = DockerFacts("any")
    for look in (facts.ping, facts.facts, facts.network):
        with pytest.raises(Unavailable, match=r"unix:///nowhere/docker\.sock does not answer") as caught:
            look()
    del caught
    gc.collect()
    facts.close()
