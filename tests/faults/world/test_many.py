"""Many at once: creates in one repository, adoptions, and a fleet of which some always crash.

Scenarios 2, 16 and 27 of docs/faults.md. The instances are the least there is (``still_agent.py``): twenty real clients
do not fit on a machine with two cores. ``make faults`` makes a hundred.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from faults.facts import run
from faults.world.installation import CLIENT, EVERYTHING, World
from faults.world.person import git

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

COUNT = 100 if EVERYTHING else 20
STILL = "cco-test/still:1"
GROWTH = 12
"""Threads or open files that may be more afterwards: pools fill up to their bounds once."""


@pytest.fixture(scope="module")
def still() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="cco-still-"))
    shutil.copy(Path(__file__).with_name("still_agent.py"), folder / "agent.py")
    lines = f'FROM {CLIENT}\nCOPY --chmod=755 agent.py /agent.py\nENTRYPOINT ["python3", "-S", "/agent.py"]\nCMD []\n'
    (folder / "Dockerfile").write_text(f"{lines}LABEL cco-test=1\n", encoding="utf-8")
    run(["docker", "build", "--quiet", "--tag", STILL, str(folder)])
    shutil.rmtree(folder)
    yield STILL
    run(["docker", "image", "rm", "--force", STILL], check=False)


def size(pid: int) -> tuple[int, int]:
    """Return how many threads and how many open files a process has."""
    process = Path("/proc") / str(pid)
    return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))


def has_at_most(pid: int, threads: int, files: int) -> bool:
    now = size(pid)
    assert (now[0] <= threads, now[1] <= files) == (True, True), f"{now}, allowed {threads} and {files}"
    return True


def test_many_creates_at_once_are_all_carried_out(world: World, still: str) -> None:
    names = [f"many-{number:03}" for number in range(COUNT)]
    pids = [world.place.controller, world.place.processes["ui.server"].pid]

    def declare(name: str) -> None:
        world.spawn(name, image=still, resources={"cpus": 0.5, "memory": "64Mi", "pids": 32})

    some = [f"some-{number}" for number in range(8)]
    with ThreadPoolExecutor(max_workers=20) as pool:
        list(pool.map(declare, some))
    world.until_ready(*some)
    world.delete(*some)
    world.until_gone(*some)
    before = [size(pid) for pid in pids]  # every worker has its connections, which it keeps
    with ThreadPoolExecutor(max_workers=20) as pool:
        list(pool.map(declare, names))
    assert sorted(world.names()) == names, "none is lost"
    for name in names:
        world.until_ready(name, timeout=20 + 6 * COUNT)
    heads = git(world.repository, "for-each-ref", "--format=%(refname:short)", "refs/heads/many-*").split()
    assert heads == names
    assert len(git(world.repository, "worktree", "list").splitlines()) == COUNT + 1
    assert [world.get(name).status.attempt for name in names] == [1] * COUNT, "each was started once"
    world.verify(cpu=False)
    world.delete(*names)
    world.until_gone(*names, timeout=20 + 6 * COUNT)
    for pid, (threads, files) in zip(pids, before, strict=True):
        world.until(
            partial(has_at_most, pid, threads + GROWTH, files + GROWTH),
            "threads and open files are as before the crowd",
        )


def lives_of(world: World) -> dict[str, tuple[str, int, str]]:
    """Return of every container of the installation what a restart or a replacement would change."""
    return {
        each["Name"]: (each["Id"], each["State"]["Pid"], each["State"]["StartedAt"])
        for each in world.place.containers()
    }


def heard_since(world: World, moment: datetime) -> bool:
    """Tell whether the controller has heard every agent of the repository since then."""
    with world.place.client() as client:
        found = client.list_instances(repository=world.repository.name)
    silent = [each.metadata.name for each in found if each.status.usage is None or each.status.usage.at <= moment]
    assert not silent, f"{len(silent)} of {len(found)} were not heard: {silent[:3]}"
    return True


def test_the_next_controller_finds_all_of_them_and_restarts_none(world: World, still: str) -> None:
    names = [f"kept-{number:03}" for number in range(COUNT)]
    world.spawn(*names, image=still, resources={"cpus": 0.5, "memory": "64Mi", "pids": 32})
    world.until_ready(*names, timeout=20 + 6 * COUNT)
    lives, happened = lives_of(world), world.place.happened("start", "die", "create", "destroy")
    assert len(lives) == COUNT
    world.remember()
    world.place.kill("controller")
    killed = datetime.now(UTC)
    world.place.start("controller")
    world.until(partial(heard_since, world, killed), "every agent is heard again")
    world.until_ready(*names)
    world.verify(cpu=False)
    assert lives_of(world) == lives
    assert world.place.happened("start", "die", "create", "destroy") == happened


def started_in(world: World, names: list[str], image: str) -> list[float]:
    """Declare instances one after the other; returns how long each took to be ready."""
    found = []
    for name in names:
        began = time.monotonic()
        world.spawn(name, image=image)
        world.until_ready(name)
        found.append(time.monotonic() - began)
    return sorted(found)


def test_crashing_instances_do_not_hold_up_the_start_of_others(world: World, still: str) -> None:
    """One in ten; Claude refuses an option it does not know, at every start."""
    calm = started_in(world, [f"calm-{number}" for number in range(4)], still)
    world.in_box("calm-0", "echo work >work.txt; git add work.txt; git commit -qm 'Add work'; echo half >draft.txt")
    world.remember()
    world.spawn("crashing", image=CLIENT, args=["--no-such-option"])
    world.until(lambda: world.get("crashing").status.failures.count >= 2, "it has crashed twice")
    late = started_in(world, [f"late-{number}" for number in range(4)], still)
    assert late[-1] < calm[-1] * 1.5 + 1.5, f"{calm} before, {late} while one crashes"
    told = world.until_reason("crashing", "BackingOff", "CrashLoop")
    assert "no-such-option" in told.message
    world.verify(rest=False)
