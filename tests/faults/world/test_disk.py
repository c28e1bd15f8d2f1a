"""An instance that takes more room than it may: it is stopped, nothing of it is removed.

Scenario 23 of docs/faults.md.
"""

from __future__ import annotations

import shutil

import pytest

from faults.world.installation import World

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]


def test_an_instance_that_holds_more_than_it_may_is_stopped_with_its_files(world: World) -> None:
    """The real agent measures; what vanishes at once it sees at once. A person makes room, and Claude goes on."""
    world.spawn("works")
    world.until_ready("works")
    world.talk("fills", resources={"cpus": 1.0, "memory": "1Gi", "disk": "64Mi"})
    commit = world.commit("fills", "Add work")
    world.remember()
    neighbour, (container, _, _) = world.life("works"), world.life("fills")
    worktree = world.worktree("fills")
    world.in_box("fills", "mkdir build; echo '*' >build/.gitignore; fallocate --length 600M build/big")
    told = world.until_reason("fills", "DiskExceeded")
    assert "spec.resources.disk allows 64 MiB" in told.message
    assert "cco retry fills" in told.message
    (kept,) = [each for each in world.place.containers() if each["Id"] == container]
    assert kept["State"]["Status"] == "exited"
    assert (worktree / "build" / "big").stat().st_size == 600 << 20, "nothing was removed"
    world.verify()
    assert world.life("works") == neighbour
    # Asked to go on before there is room, it is stopped again.
    world.patch("fills", retry_generation=1)
    world.until(lambda: world.get("fills").status.retried_generation == 1, "it was tried")
    world.until_reason("fills", "DiskExceeded")
    shutil.rmtree(worktree / "build")
    world.patch("fills", retry_generation=2)
    world.until_state("fills", "idle")
    world.until_ready("fills")
    assert world.life("fills")[0] == container
    assert world.in_box("fills", "cat draft.txt; git rev-parse HEAD").split() == ["half", commit]
    world.verify()
