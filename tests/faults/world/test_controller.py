"""The controller killed, its database locked or older, while instances run.

Scenarios 2, 24 and 25 of docs/faults.md.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from api.client import ApiError
from faults.facts import read_facts
from faults.world import old_database
from faults.world.installation import World

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

FIVE = tuple(f"five-{number}" for number in range(5))
LOCKED_SECONDS = 10.0
READ_SECONDS = 2.0


def test_a_killed_controller_finds_all_five_again_and_restarts_none(world: World) -> None:
    world.spawn(*FIVE)
    world.until_ready(*FIVE)
    for name in FIVE[:2]:
        world.commit(name, f"Work of {name}")
    world.remember()
    lives = {name: world.life(name) for name in FIVE}
    happened = world.place.happened("start", "die", "create", "destroy")
    world.place.kill("controller")
    # What is wanted meanwhile is not forgotten either.
    world.patch(FIVE[4], operating_mode="Suspended")
    late = world.in_box(FIVE[0], "echo late >late.txt; git add late.txt; git commit -qm Late; git rev-parse HEAD")
    world.place.start("controller")
    world.until(lambda: world.head(FIVE[0]) == late, "what was committed meanwhile is at home")
    world.until_reason(FIVE[4], "Suspended")
    world.until_ready(*FIVE[:4])
    uid = world.get(FIVE[4]).metadata.uid
    lost = [each for each in world.place.happened("start", "die", "create", "destroy") if each[1] != uid]
    assert lost == [each for each in happened if each[1] != uid], "nothing happened to the others"
    assert {name: world.life(name) for name in FIVE[:4]} == {name: lives[name] for name in FIVE[:4]}
    world.verify()


def test_a_database_that_somebody_holds_stops_no_instance_and_loses_no_change(world: World) -> None:
    world.spawn("held")
    world.until_ready("held")
    world.remember()
    life = world.life("held")
    released = threading.Event()
    with closing(sqlite3.connect(world.system.state_dir / "state.db", check_same_thread=False)) as holder:
        holder.execute("BEGIN IMMEDIATE")

        def release() -> None:
            holder.rollback()
            released.set()

        timer = threading.Timer(LOCKED_SECONDS, release)
        timer.start()
        acknowledged: list[str] = []
        refused: list[ApiError] = []
        slowest = 0.0
        while not released.is_set():
            began = time.monotonic()
            world.get("held")
            slowest = max(slowest, time.monotonic() - began)
            try:
                with world.place.client() as client:
                    name = f"asked-{len(acknowledged) + len(refused)}"
                    client.create_instance(world.manifest(name))
                acknowledged.append(name)
            except ApiError as error:
                refused.append(error)
        timer.join()
    assert slowest < READ_SECONDS, "reading goes on"
    assert refused, "somebody was told to come back"
    assert {error.status for error in refused} == {503}
    assert {error.reason for error in refused} == {"DatabaseLocked"}
    world.until_ready("held", *acknowledged)
    assert sorted(world.names()) == sorted(["held", *acknowledged])
    assert world.life("held") == life
    world.verify()


def test_a_database_of_the_first_release_is_taken_over_and_restarts_nobody(world: World) -> None:
    """It is made from today's: the first migration's tables, and of every status what the first release wrote."""
    world.spawn("upgraded", "resting")
    world.until_ready("upgraded", "resting")
    world.patch("resting", operating_mode="Suspended")
    world.until_reason("resting", "Suspended")
    world.commit("upgraded", "Add work")
    world.remember()
    before = {name: world.life(name) for name in ("upgraded", "resting")}
    specs = {name: world.get(name).spec for name in before}
    happened = world.place.happened("start", "die", "create", "destroy")
    world.place.kill()
    database = world.system.state_dir / "state.db"
    old_database.make(database)
    assert old_database.revision(database) == "0001"
    for row in read_facts(world.system.state_dir).rows:
        world.baseline.acknowledge(row)  # as it was written then
    world.place.start()
    world.until_ready("upgraded")
    world.until_reason("resting", "Suspended")
    assert old_database.revision(database) != "0001"
    assert {name: world.life(name) for name in before} == before
    assert {name: world.get(name).spec for name in before} == specs
    assert world.place.happened("start", "die", "create", "destroy") == happened
    world.verify()
