"""The state volume goes wrong under a running installation: its database is damaged, or it is full.

Scenarios 22 and 25 of docs/faults.md. Each of these has an installation of its own, because nobody could share
it afterwards.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from api.client import ApiError
from controller.resources.check import CheckStatus
from faults.facts import run
from faults.invariants import CPU_SHARE
from faults.recorders import cpu_share
from faults.world.installation import World, installation
from faults.world.person import PERSON
from faults.world.running import RESYNC_SECONDS
from support.host_system import make_repository
from support.model_container import Model

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

TWO = ("one", "two")
PAGE = 4096
ROOM_MEGABYTES = 24
MARKS = ("start", "die", "create", "destroy")


@contextmanager
def alone(model: Model, folder: Path, *, state_megabytes: int | None = None) -> Iterator[World]:
    """Run an installation with two instances, one of which has worked, and know what must survive."""
    with installation(model, state_megabytes=state_megabytes) as place:
        home = folder / "home"
        world = World(place, make_repository(home / f"shop-{secrets.token_hex(3)}", owner=PERSON))
        home.chmod(0o777)
        world.register()
        world.spawn(*TWO)
        world.until_ready(*TWO)
        world.commit("one", "Add work")
        world.remember()
        yield world


def damage(database: Path) -> None:
    """Overwrite everything behind the first page, under those who have it open."""
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(PAGE)
        file.write(secrets.token_bytes(size - PAGE))


def refusal(world: World) -> ApiError:
    """Return what somebody is told who declares an instance now."""
    with pytest.raises(ApiError) as caught, world.place.client() as client:
        client.create_instance(world.manifest(f"late-{secrets.token_hex(3)}"))
    return caught.value


def test_a_database_damaged_while_it_is_used_costs_no_container_and_is_put_together_again(
    model: Model, folder: Path
) -> None:
    with alone(model, folder) as world:
        lives, happened = world.lives(*TWO), world.place.happened(*MARKS)
        damage(world.system.state_dir / "state.db")
        world.until(lambda: "DatabaseCorrupt" in world.system.logs(), "it is noticed")
        cpu = cpu_share(world.place.controller, 3 * RESYNC_SECONDS)
        assert cpu < CPU_SHARE, f"{cpu:.1%} of a core with a damaged database"
        assert world.place.happened(*MARKS) == happened
        told = refusal(world)
        assert (told.status, told.reason) == (500, "DatabaseCorrupt")
        assert "python -m controller rebuild" in told.detail
        world.place.stop()
        assert world.system.start("controller", "run").wait(60) == 1, "nothing starts with it"
        assert world.system.start("controller", "rebuild", "--yes").wait(60) == 0, world.system.logs()[-3000:]
        world.place.start()
        world.until_ready(*TWO)
        assert world.lives(*TWO) == lives
        assert world.place.happened(*MARKS) == happened
        world.verify()
        world.close()


def fill(path: Path) -> None:
    """Leave not a byte on the file system."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def test_a_full_state_volume_is_told_and_everything_goes_on_when_there_is_room(model: Model, folder: Path) -> None:
    """What cannot be written down is not done. Statuses are from before then: doctor, log and refusals tell why."""
    with alone(model, folder, state_megabytes=ROOM_MEGABYTES) as world:
        lives, happened = world.lives(*TWO), world.place.happened(*MARKS)
        filler = world.system.state_dir / "filler"
        fill(filler)
        run(["docker", "kill", world.container("two")])
        world.until(lambda: "reason=DiskFull" in world.system.logs(), "it is noticed")
        cpu = cpu_share(world.place.controller, 3 * RESYNC_SECONDS)
        assert cpu < CPU_SHARE, f"{cpu:.1%} of a core on a full disk"
        died = ("die", world.get("two").metadata.uid)
        assert world.place.happened(*MARKS) == [*happened, died], "nothing is started that could not be recorded"
        assert world.place.health()["controller"]["status"] == "ok"
        told = refusal(world)
        assert (told.status, told.reason) == (507, "DiskFull")
        assert str(world.system.state_dir) in told.detail
        with world.place.client() as client:
            (disk,) = [each for each in client.doctor().checks if each.name == "disk"]
        assert disk.status is CheckStatus.FAIL, disk
        assert str(world.system.state_dir) in disk.message
        filler.unlink()
        world.until(lambda: world.get("two").status.restarts == 1, "it is started again")
        world.until_ready(*TWO)
        assert world.lives("one") == {"one": lives["one"]}
        assert world.get("one").status.restarts == 0
        world.verify()
        world.close()
