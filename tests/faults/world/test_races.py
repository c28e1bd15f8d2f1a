"""Wishes that overtake each other (scenario 31 of docs/faults.md)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from api.watching import parse_instance
from faults.world.installation import EVERYTHING, World
from faults.world.person import git

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.2] if EVERYTHING else [0.0, 0.4])
def test_a_deletion_during_the_creation_leaves_nothing(world: World, delay: float) -> None:
    name = f"fleeting-{int(delay * 100)}"
    world.spawn(name)
    threading.Event().wait(delay)
    world.delete(name)
    world.until_gone(name)
    assert not [each for each in world.place.containers() if name in each["Name"]]
    assert git(world.repository, "worktree", "list").count("\n") == 0
    world.verify(rest=delay == 0.0)


def test_changes_during_a_restart_end_in_one_container_with_the_last_of_them(world: World) -> None:
    world.spawn("restless")
    world.until_ready("restless")
    world.commit("restless", "Add work")
    world.remember()
    world.patch("restless", restart_generation=1)
    world.patch("restless", resources={"memory": "512Mi"})
    world.patch("restless", model="claude-one")
    world.patch("restless", restart_generation=2, model="claude-two")
    world.patch("restless", env={"WORD": "last"})

    def settled() -> bool:
        status = world.get("restless").status
        return status.restarted_generation == 2 and world.ready("restless").reason == "Ready"

    world.until(settled, "the last wish is carried out")
    world.verify()
    (container,) = world.place.containers()
    assert container["HostConfig"]["Memory"] == 512 << 20
    config = (world.system.state_dir / "instances" / "restless" / "run" / "instance.json").read_text()
    assert "claude-two" in config
    assert "last" in config


def test_a_wish_to_stop_during_the_start_and_back_again(world: World) -> None:
    world.spawn("wavering")
    for mode in ("Suspended", "Running", "Stopped", "Running", "Suspended", "Running"):
        world.patch("wavering", operating_mode=mode)
    world.until_ready("wavering")
    world.verify()
    assert len(world.place.containers()) == 1


def test_one_idempotency_key_makes_one_instance(world: World) -> None:
    body = world.manifest("once").model_dump(mode="json", exclude_unset=True)
    token = (world.system.state_dir / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "the-same"}

    def post(_: int) -> httpx.Response:
        return httpx.post(f"{world.system.address}/api/instances", json=body, headers=headers, timeout=30)

    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(post, range(8)))
    assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
    assert len({answer.json()["metadata"]["uid"] for answer in answers}) == 1
    for answer in answers:
        world.acknowledge(parse_instance(answer.json()))
    world.until_ready("once")
    assert len([each for each in world.place.containers() if "once" in each["Name"]]) == 1
    other = httpx.post(
        f"{world.system.address}/api/instances",
        json={**body, "metadata": {"name": "another"}},
        headers=headers,
        timeout=30,
    )
    assert other.status_code in {409, 422}, "the same key for something else"
    world.verify()
