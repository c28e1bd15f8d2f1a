"""What instances stand on is taken away, half made, or changed by hand: images, networks, volumes, containers.

Scenarios 6, 10, 18 and 19 of docs/faults.md are among it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from uuid import uuid4

import pytest

from controller.resources import ConditionStatus
from controller.runtime.protocol import LABEL_ATTEMPT, LABEL_INSTALLATION, LABEL_INSTANCE, LABEL_UID
from faults.engine_world import RESYNC_SECONDS, EngineWorld
from faults.facts import read_facts
from faults.real_world import IMAGES
from support.own_engine import OwnEngine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

LATE = "cc-orchestrator-test/late:1"
NETWORK = "cc-orchestrator"
MARGIN_SECONDS = 20.0
"""For a machine with other things to do."""


@pytest.fixture
def late(engine: OwnEngine) -> Iterator[str]:
    """The name of an image that is not there yet."""
    engine.docker("image", "rm", LATE, check=False)
    yield LATE
    engine.docker("image", "rm", LATE, check=False)


def test_an_image_that_is_missing_holds_up_only_its_own(world: EngineWorld, engine: OwnEngine, late: str) -> None:
    """Nothing is pulled, nothing is tried in a hurry, and the image that comes is found by itself."""
    world.spawn("waits", image=late)
    world.until_reason("waits", "ImageNotFound")
    assert late in world.ready("waits").message
    world.spawn("runs")
    world.until_ready("runs")
    world.remember()
    engine.docker("tag", IMAGES[0], late)
    came = time.monotonic()
    world.until_ready("waits")
    assert time.monotonic() - came < RESYNC_SECONDS + MARGIN_SECONDS
    assert world.restarts("runs") == {"runs": 0}
    world.verify()


def test_an_image_removed_under_its_instances(world: EngineWorld, engine: OwnEngine, late: str) -> None:
    """A running one goes on. A stopped one comes back: its container still holds what it was made from."""
    engine.docker("tag", IMAGES[1], late)
    world.spawn("runs", "sleeps", "ends", image=late)
    world.until_ready("runs", "sleeps", "ends")
    world.patch("sleeps", operating_mode="Suspended")
    world.until_reason("sleeps", "Suspended")
    world.commit("runs", "kept")
    world.remember()
    lives = world.lives("runs")
    engine.docker("image", "rm", "--force", late)
    engine.docker("kill", world.container("ends"))
    world.until(lambda: world.restarts("ends") == {"ends": 1}, "the one that ended is started again")
    world.patch("sleeps", operating_mode="Running")
    world.until_ready("runs", "sleeps", "ends")
    assert world.lives("runs") == lives
    # Without its container nothing is left of the image; that is said, and the others do not care.
    engine.docker("rm", "--force", world.container("ends"))
    world.until_reason("ends", "ImageNotFound")
    assert world.lives("runs") == lives
    engine.docker("tag", IMAGES[1], late)
    world.until_ready("ends")
    world.remember_specs()
    world.verify()


def test_a_network_removed_under_its_instances(world: EngineWorld, engine: OwnEngine) -> None:
    """Cut off from the world by hand; whoever starts after it gets a new network, and it keeps instances apart."""
    world.spawn("runs", "sleeps")
    world.until_ready("runs", "sleeps")
    world.patch("sleeps", operating_mode="Suspended")
    world.until_reason("sleeps", "Suspended")
    world.remember()
    engine.docker("network", "disconnect", "--force", NETWORK, world.container("runs"))
    engine.docker("network", "rm", NETWORK)
    world.patch("sleeps", operating_mode="Running")
    world.until_ready("sleeps", "runs")
    assert world.restarts("runs") == {"runs": 0}
    world.until(
        lambda: "reaches nobody" in world.condition("runs", "WorkloadRunning").message, "it is said to be cut off"
    )
    made = world.inspect(NETWORK, "network")
    assert made["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    assert NETWORK in world.inspect(world.container("sleeps"))["NetworkSettings"]["Networks"]
    world.patch("runs", restart_generation=1)
    world.until(lambda: world.restarts("runs") == {"runs": 1}, "it was restarted")
    world.until_ready("runs")
    assert NETWORK in world.inspect(world.container("runs"))["NetworkSettings"]["Networks"]
    world.remember_specs()
    world.verify()


def test_a_home_removed_under_its_instance(world: EngineWorld, engine: OwnEngine) -> None:
    """The engine gives up no volume that a container has. Both gone, the work in the worktree is still there."""
    world.spawn("loses", "runs")
    world.until_ready("loses", "runs")
    world.commit("loses", "kept")
    world.remember()
    container = world.container("loses")
    (home,) = [mount["Name"] for mount in world.inspect(container)["Mounts"] if mount["Type"] == "volume"]
    engine.docker("rm", "--force", container)
    gone = engine.docker("volume", "rm", home, check=False)
    world.until(lambda: world.get("loses").status.attempt == 2, "another container is made")
    world.until_ready("loses")
    assert world.inspect(home, "volume")["Labels"][LABEL_UID] == world.get("loses").metadata.uid, gone
    assert world.in_box("loses", "cat work.txt draft.txt") == "kept\nhalf"
    assert world.restarts("runs") == {"runs": 0}
    world.verify()


def runs(world: EngineWorld, name: str) -> bool:
    return bool(world.inspect(world.container(name))["State"]["Status"] == "running")


def test_containers_changed_by_hand(world: EngineWorld, engine: OwnEngine) -> None:
    """Stopped, paused, renamed, given other limits: back as declared, on the same container."""
    world.spawn("stopped", "paused", "changed")
    world.until_ready("stopped", "paused", "changed")
    world.commit("stopped", "kept")
    world.remember()
    before = world.attempts("stopped", "paused", "changed")
    lives = world.lives("paused", "changed")
    engine.docker("stop", "--time", "5", world.container("stopped"))
    engine.docker("pause", world.container("paused"))
    engine.docker("update", "--memory", "512m", "--memory-swap", "512m", world.container("changed"))
    world.until(lambda: world.restarts("stopped") == {"stopped": 1}, "the stopped one is started again")
    for name in ("paused", "changed"):
        world.until(partial(runs, world, name), f"{name} runs")
    limits = partial(world.inspect, world.container("changed"))
    world.until(lambda: limits()["HostConfig"]["Memory"] == 1 << 30, "the limits are as declared")
    world.until_ready("stopped", "paused", "changed")
    assert world.attempts(*before) == before
    assert world.lives("paused", "changed") == lives
    world.verify()


def test_a_container_that_was_only_half_made(world: EngineWorld, engine: OwnEngine) -> None:
    """Created and never started, as a controller leaves it that dies in between: it is started, not made twice."""
    world.spawn("half")
    world.until_ready("half")
    world.remember()
    old = world.container("half")
    world.place.kill()
    made = engine.create_like(old, f"{world.system.prefix}-half-2", {LABEL_ATTEMPT: "2"})
    engine.docker("rm", "--force", old)
    world.place.start()
    world.until(lambda: world.get("half").status.attempt == 2, "it was taken over")
    world.until_ready("half")
    assert world.attempts("half") == {"half": (2, made)}
    world.verify()


def test_a_create_that_was_cut_off(world: EngineWorld, engine: OwnEngine) -> None:
    """The engine dies while it makes containers; what it left is used or replaced, never doubled."""
    names = [f"cut-{number}" for number in range(3)]
    world.spawn(*names)
    world.until(lambda: any(world.get(name).status.workspace for name in names), "the first is being made")
    engine.kill()
    engine.start()
    world.until_ready(*names)
    world.verify()


def labelled(labels: Mapping[str, str]) -> list[str]:
    """Return the options that give a container these labels."""
    return [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]


def test_strangers_with_our_labels_are_left_alone(world: EngineWorld, engine: OwnEngine) -> None:
    """Another installation's container; and one that claims to be an instance of ours, which blocks that one alone."""
    world.spawn("one", "two")
    world.until_ready("one", "two")
    world.commit("one", "kept")
    lives = world.lives("one", "two")
    other = {LABEL_INSTALLATION: "somebody-else", LABEL_INSTANCE: "one", LABEL_UID: str(uuid4()), LABEL_ATTEMPT: "1"}
    engine.docker("run", "--detach", "--name", "foreign", *labelled(other), "--entrypoint", "sleep", IMAGES[0], "1000")
    world.remember()
    # Made by hand after ours, with our own labels: nobody can tell which is the right one, so nothing is done.
    installation, uid = read_facts(world.system.state_dir).installation, world.get("one").metadata.uid
    mine = {**other, LABEL_INSTALLATION: installation, LABEL_UID: uid}
    engine.docker("create", "--name", "claims", *labelled(mine), IMAGES[0])
    world.until_reason("one", "AmbiguousWorkload")
    assert "claims" in world.ready("one").message
    assert world.lives("two") == {"two": lives["two"]}
    assert engine.docker("inspect", "--format", "{{.State.Running}}", "foreign") == "true"
    engine.docker("rm", "claims")
    world.until_ready("one")
    assert world.ready("one").status is ConditionStatus.TRUE
    assert world.lives("one", "two") == lives
    assert engine.docker("inspect", "--format", "{{.State.Running}}", "foreign") == "true"
    world.verify()
