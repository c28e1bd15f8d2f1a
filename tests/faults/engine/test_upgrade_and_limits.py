"""A newer image and controller under running instances; no more open files; no more room for the engine.

The last two are scenarios 33 and 23 of docs/faults.md.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from faults.engine_world import EngineWorld, engine_world
from faults.real_world import IMAGES
from faults.recorders import cpu_share
from support.deadline import eventually
from support.own_engine import OwnEngine, own_engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

TAG = "cc-orchestrator-test/released:1"
FEW = 64
ROOM_MEGABYTES = 1600
"""For the instances' image twice, which it is while it is loaded, and a little more."""


@pytest.fixture
def released(engine: OwnEngine) -> Iterator[str]:
    """A tag that names the older image."""
    engine.docker("tag", IMAGES[0], TAG)
    yield TAG
    engine.docker("image", "rm", "--force", TAG, check=False)


def test_an_upgrade_restarts_nobody(engine: OwnEngine, released: str) -> None:
    """The tag names another image, and another controller starts: who runs, runs on, and says what it runs."""
    with engine_world(engine, image=released) as world:
        world.spawn("one", "two")
        world.until_ready("one", "two")
        world.commit("one", "kept")
        world.remember()
        lives = world.lives("one", "two")
        older, newer = (world.inspect(image, "image")["Id"] for image in IMAGES)
        engine.docker("tag", IMAGES[1], released)
        world.place.stop()
        world.place.start()
        world.spawn("three")
        world.until_ready("one", "two", "three")
        assert world.lives("one", "two") == lives
        assert world.restarts("one", "two") == {"one": 0, "two": 0}
        assert {name: world.image_id(name) for name in ("one", "two", "three")} == {
            "one": older,
            "two": older,
            "three": newer,
        }
        # Its container gone, the next one is made from what the tag names now.
        engine.docker("rm", "--force", world.container("one"))
        world.until(lambda: world.image_id("one") == newer, "the replacement runs the newer image")
        world.until_ready("one", "two", "three")
        assert world.lives("two") == {"two": lives["two"]}
        world.remember_specs()
        world.verify()


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def takes_no_more(stack: ExitStack, path: str, pid: int) -> bool:
    """Open another connection that says nothing, if anybody takes it; tells whether every file is open by now."""
    connection = stack.enter_context(socket.socket(socket.AF_UNIX))
    connection.setblocking(False)
    with suppress(BlockingIOError):
        connection.connect(path)
    return open_files(pid) >= FEW - 1


def test_a_controller_without_open_files_recovers(world: EngineWorld, engine: OwnEngine) -> None:
    """Every file it may open is taken by connections that say nothing; it neither ends nor spins."""
    world.spawn("one", "two")
    world.until_ready("one", "two")
    world.remember()
    lives = world.lives("one", "two")
    usual = resource.prlimit(world.place.controller, resource.RLIMIT_NOFILE)
    resource.prlimit(world.place.controller, resource.RLIMIT_NOFILE, (FEW, usual[1]))
    with ExitStack() as stack:
        path = str(world.system.state_dir / "controller.sock")
        full = partial(takes_no_more, stack, path, world.place.controller)
        eventually(full, timeout=60, what="no file is left")
        world.spawn("three")
        engine.docker("kill", world.container("two"))
        share = cpu_share(world.place.controller, 5.0)
        assert world.get("one").metadata.name == "one", "what is stored can be read"
    resource.prlimit(world.place.controller, resource.RLIMIT_NOFILE, usual)
    world.until_ready("one", "two", "three")
    assert world.lives("one") == {"one": lives["one"]}
    assert world.restarts("one", "two", "three") == {"one": 0, "two": 1, "three": 0}
    assert open_files(world.place.controller) < FEW
    assert share < 0.2, f"{share:.0%} of a core while no file could be opened"
    world.remember_specs()
    world.verify()


def test_a_full_disk_of_the_engine_is_told() -> None:
    """One instance fills what all HOMEs and images share: the machine's own disk and the others' work are not hurt."""
    free = os.statvfs("/").f_bavail
    with own_engine((IMAGES[0],), data_megabytes=ROOM_MEGABYTES) as engine, engine_world(engine) as world:
        world.spawn("fills", resources={"memory": "4Gi"})  # what it writes lies in memory here, and counts
        world.spawn("works")
        world.until_ready("fills", "works")
        lives = world.lives("fills", "works")
        said = world.in_box("fills", "dd if=/dev/zero of=/home/agent/fill bs=1M 2>&1 || true")
        assert "No space left on device" in said
        world.commit("works", "kept")
        world.remember()
        world.spawn("late")
        world.until(lambda: "no space left on device" in world.ready("late").message, "the cause is told")
        threading.Event().wait(5.0)
        assert world.lives("fills", "works") == lives
        world.until_ready("fills", "works")
        world.in_box("fills", "rm /home/agent/fill")
        world.until_ready("late")
        assert world.lives("fills", "works") == lives
        world.remember_specs()
        world.verify()
    assert free - os.statvfs("/").f_bavail < (1 << 30) // os.statvfs("/").f_frsize
