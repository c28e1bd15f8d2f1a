"""A runaway instance and the disk that all HOMEs share (scenario 23 of docs/faults.md).

The real agents report, one is stopped.
"""

from __future__ import annotations

import pytest

from faults.engine_world import engine_world
from faults.real_world import BASE_IMAGE, IMAGES
from support.own_engine import own_engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

ROOM_MEGABYTES = 1600
"""For the instances' image twice, which it is while it is loaded, and a little more."""
LEFT_MEGABYTES = 60
FILL = f"""free=$(df --output=avail --block-size=1M /home/agent | tail -n 1)
fallocate --length $((free - {LEFT_MEGABYTES}))M /home/agent/fill"""


def test_the_instance_that_fills_the_disk_is_stopped_and_no_other() -> None:
    """The disk is nearly full within a moment; who did that is measured before anybody is stopped for it."""
    with own_engine((BASE_IMAGE, IMAGES[0]), data_megabytes=ROOM_MEGABYTES) as engine:
        model = engine.serve_model()
        with engine_world(engine, image=BASE_IMAGE, model=model) as world:
            world.spawn("fills", resources={"cpus": 0.5, "memory": "4Gi"})  # what it writes lies in memory here
            world.spawn("works")
            world.until_ready("fills", "works")
            # The one that works holds more at first, and that is known: agents measure when they start.
            world.in_box("works", "head -c 20M /dev/urandom >/home/agent/mine")
            world.patch("works", restart_generation=1)
            world.until(lambda: world.restarts("works") == {"works": 1}, "it was restarted")
            for name in ("fills", "works"):
                world.until_state(name, "idle")
                world.commit(name, "kept")
            world.until_ready("works")
            world.remember()
            works = world.life("works")
            world.in_box("fills", FILL)
            told = world.until_reason("fills", "DiskPressure")
            assert "cco retry fills" in told.message
            container = world.inspect(world.container("fills"))
            assert not container["State"]["Running"]
            world.spawn("late")
            world.until_reason("late", "DiskPressure")
            world.until_ready("works")
            assert world.life("works") == works
            # A person makes room in its HOME, and everybody goes on.
            (home,) = [each["Name"] for each in container["Mounts"] if each["Type"] == "volume"]
            remove = ["--entrypoint", "rm", BASE_IMAGE, "/home/agent/fill"]
            engine.docker("run", "--rm", "--user", "0", "--volume", f"{home}:/home/agent", *remove)
            world.until_ready("late")
            world.patch("fills", retry_generation=1)
            world.until_ready("fills", "works")
            world.until_state("fills", "idle")
            assert world.life("works") == works
            world.verify()
