"""The controller's process dies (``os._exit(137)``) at a side effect and is started again, on the real thing.

Scenario 1 of docs/faults.md, and the first method there.

A spread of calls that ``TEST_FAULTS_SEED`` chooses; all of them with ``TEST_FAULTS=all`` (``make faults``), which takes
hours. Agent and Claude are stand-ins that start at once (``light_agent.py``): an instance with the real client takes
several times longer, and what it does is the subject of ``tests/e2e``.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.injector import Call, Fault, Mode, count
from faults.real_workload import Life, live
from faults.real_world import KILLED, build_images, real_world
from faults.recorders import GitLog, Requests

EVERYTHING = os.environ.get("TEST_FAULTS") == "all"
SEED = int(os.environ.get("TEST_FAULTS_SEED", "1"))
PARTS = 5
"""Into so many equal parts the calls are divided; of each part one is tried, or all."""
LEAST_K = 200
SURE = 0.9
"""Threads make the number of calls differ a little: one beyond this part of K may not come."""

pytestmark = [pytest.mark.docker, pytest.mark.timeout(0 if EVERYTHING else 400)]


@dataclass(frozen=True, slots=True)
class Reference:
    life: Life
    calls: list[Call]


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    """The run in which nothing goes wrong, which is also watched at rest."""
    build_images()
    with tempfile.TemporaryDirectory(prefix="cco-watch-") as folder, Requests(Path(folder)) as requests:
        Path(folder).chmod(0o755)
        log = GitLog(Path(folder) / "bin")
        path = f"{log.folder}:{os.environ['PATH']}"
        with real_world(environment={"DOCKER_HOST": requests.url, "PATH": path}) as world:
            life = live(world, None, quiet=(requests, log))
            yield Reference(life, world.calls())


def chosen(reference: Reference, mode: Mode, part: int, parts: int = PARTS) -> list[int]:
    """Return the calls of one part that are tried."""
    every = count(reference.calls, mode)
    mine = list(range(every * part // parts, every * (part + 1) // parts))
    return mine if EVERYTHING or not mine else [random.Random(f"{SEED} {mode} {part}").choice(mine)]  # noqa: S311  # a spread, no secret


def explore(reference: Reference, mode: Mode, at: list[int]) -> None:
    """Live through each fault; fails with all that went otherwise."""
    wrong: list[str] = []
    for number in at:
        fault = Fault(mode, number)
        try:
            with real_world(f"{fault.mode}:{fault.at}") as world:
                wanted = None if mode is Mode.STALE else reference.life  # see one_by_one.run_with
                deaths = live(world, wanted).deaths
            sure = number < count(reference.calls, mode) * SURE
            crash = mode in {Mode.CRASH_BEFORE, Mode.CRASH_AFTER}
            if deaths not in {(KILLED,), *([] if crash and sure else [()])}:
                wrong.append(f"{mode} at {number}: controllers ended with {deaths}")
        except AssertionError as error:
            wrong.append(f"{mode} at {number}: {error}")
    assert not wrong, f"{len(at) - len(wrong)}/{len(at)} like the reference\n" + "\n\n".join(wrong)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("mode", [Mode.CRASH_BEFORE, Mode.CRASH_AFTER])
def test_a_killed_controller_is_followed_by_one_that_ends_alike(reference: Reference, mode: Mode, part: int) -> None:
    explore(reference, mode, chosen(reference, mode, part))


@pytest.mark.parametrize("mode", [Mode.ERROR, Mode.LOST_ANSWER, Mode.DELAY, Mode.STALE, Mode.DROP])
def test_a_failure_on_the_way_ends_alike(reference: Reference, mode: Mode) -> None:
    explore(reference, mode, chosen(reference, mode, 0, 1))


def test_no_seam_is_out_of_sight_and_rest_is_rest(
    reference: Reference, record_testsuite_property: Callable[[str, object], None]
) -> None:
    writes = [call for call in reference.calls if call.writes]
    assert {call.seam.value for call in writes} == {"docker", "git", "sql", "file"}
    assert len(writes) >= LEAST_K
    record_testsuite_property("K", str(len(writes)))
    assert all(verdict.measured for verdict in reference.life.verdicts[:8]), reference.life.verdicts
