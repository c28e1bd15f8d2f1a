"""Instances share a bridge on which they cannot reach each other; a network that is not ours is left alone."""

from __future__ import annotations

import pytest

from contracts.runtime_world import eventually, launch, look
from controller.errors import Conflict, Terminal
from controller.runtime.docker.network import LABEL_NETWORK
from controller.runtime.protocol import WorkloadState
from support.docker_world import LABEL, DockerWorld

pytestmark = pytest.mark.docker

_ICC = "com.docker.network.bridge.enable_icc"
_LISTEN = """perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 7777, Listen => 5) or die;
open F, ">/tmp/listening"; close F; while ($c = $s->accept) { print $c "hello"; close $c }' >/dev/null 2>&1 &"""
_CALL = """perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => "{peer}:7777", Timeout => 2)
or do {{ print "unreachable"; exit }}; print <$s>'"""


def address(world: DockerWorld, uid: str) -> str:
    networks = world.admin.inspect_container(world.container(uid))["NetworkSettings"]["Networks"]
    (network,) = networks.values()
    return str(network["IPAddress"])


def call(world: DockerWorld) -> str:
    """Let one instance listen and return what another one hears from it."""
    server, client = world.spec("server"), world.spec("client")
    launch(world, server)
    launch(world, client)
    world.sh(server.uid, _LISTEN)
    eventually(lambda: "listening" in world.sh(server.uid, "ls /tmp"))
    assert world.sh(server.uid, _CALL.format(peer="127.0.0.1")) == "hello"
    return world.sh(client.uid, _CALL.format(peer=address(world, server.uid)))


def test_instances_cannot_reach_each_other(world: DockerWorld) -> None:
    assert call(world) == "unreachable"


def test_the_same_call_succeeds_where_nothing_keeps_them_apart(
    world: DockerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The counter-proof: without our network's one option, the call above would be heard.
    world.admin.create_network(world.network, driver="bridge", labels={LABEL: world.run})
    monkeypatch.setattr("controller.runtime.docker.runtime.ensure_network", lambda *_: None)
    assert call(world) == "hello"


def made_by_others(world: DockerWorld, labels: dict[str, str], icc: str) -> dict[str, object]:
    world.admin.create_network(world.network, driver="bridge", labels={LABEL: world.run, **labels}, options={_ICC: icc})
    found: dict[str, object] = world.admin.inspect_network(world.network)
    return found


def test_a_foreign_network_is_left_alone(world: DockerWorld) -> None:
    before = made_by_others(world, {}, "false")
    with pytest.raises(Conflict) as caught:
        world.runtime.prepare()
    assert caught.value.reason == "NetworkConflict"
    assert f"docker network rm {world.network}" in caught.value.message
    with pytest.raises(Conflict):
        world.runtime.create(world.spec())
    assert world.runtime.list() == ()
    assert world.admin.inspect_network(world.network) == before


def test_a_network_made_beforehand_with_our_label_will_do(world: DockerWorld) -> None:
    before = made_by_others(world, {LABEL_NETWORK: "instances"}, "false")
    world.runtime.prepare()
    launch(world, world.spec())
    assert world.admin.inspect_network(world.network)["Id"] == before["Id"]


def test_a_network_that_does_not_keep_instances_apart_is_refused(world: DockerWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    world.runtime.stop(spec.uid, grace=1)
    world.remove_network_by_hand()
    made_by_others(world, {LABEL_NETWORK: "instances"}, "true")
    for verb in (world.runtime.prepare, lambda: world.runtime.start(spec.uid, 1)):
        with pytest.raises(Terminal) as caught:
            verb()
        assert caught.value.reason == "NetworkNotIsolated"
    assert look(world, spec).state is WorkloadState.EXITED
