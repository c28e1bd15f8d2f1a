"""Every seam call of the reference workload, with every fault that can happen at it, without Docker.

Scenario 1 of docs/faults.md, and the first method there.

What a person asks for always meets all crashes. Of the other modes, and of all modes where the world drifts by itself,
a spread runs that the seed ``TEST_FAULTS_SEED`` chooses, or all of them with ``TEST_FAULTS=all`` (``make faults``).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from faults.crash_world import CrashWorld, crash_world
from faults.injector import Fault, Mode, count
from faults.one_by_one import Outcome, run_with
from faults.workload import STEPS, Reference, Step, record_reference

pytestmark = pytest.mark.timeout(900)

EVERYTHING = os.environ.get("TEST_FAULTS") == "all"
SEED = int(os.environ.get("TEST_FAULTS_SEED", "1"))
CRASHES = (Mode.CRASH_BEFORE, Mode.CRASH_AFTER)
OTHERS = (Mode.ERROR, Mode.LOST_ANSWER, Mode.STALE)
AT_MOST = 6
"""Runs of the other modes for each step."""
AT_MOST_OF_A_DRIFT = 4
"""Runs of each mode for a step in which the world drifts."""
LEAST_K = 600
"""Fewer side effects than that in the workload, and the injector has lost sight of a seam."""


@pytest.fixture(scope="module")
def world() -> Iterator[CrashWorld]:
    with crash_world() as made:
        yield made


@pytest.fixture(scope="module")
def reference(world: CrashWorld, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return record_reference(world, tmp_path_factory.mktemp("reference"))


def places(reference: Reference, step: Step, mode: Mode) -> list[int]:
    """Return at which calls of a step the mode is tried."""
    every = list(range(count(reference.calls[step.name], mode)))
    if EVERYTHING or (mode in CRASHES and not step.drift):
        return every
    most = AT_MOST_OF_A_DRIFT if step.drift else AT_MOST
    chosen = random.Random(f"{SEED} {step.name} {mode}")  # noqa: S311  # a spread, no secret
    return sorted(chosen.sample(every, min(most, len(every))))


def explore(world: CrashWorld, reference: Reference, step: Step, mode: Mode, at: list[int]) -> str:
    """Return what went wrong at which calls; empty when all ended like the reference."""
    outcomes: list[Outcome] = [run_with(world, reference, step, Fault(mode, each)) for each in at]
    wrong = [outcome for outcome in outcomes if outcome.problems]
    right = len(outcomes) - len(wrong)
    told = "\n\n".join(map(str, wrong))
    return f"{right}/{len(outcomes)} like the reference\n\n{told}" if wrong else ""


@pytest.mark.parametrize("mode", CRASHES)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.replace(" ", "-"))
def test_a_crash_at_every_side_effect_changes_nothing_in_the_end(
    world: CrashWorld, reference: Reference, step: Step, mode: Mode
) -> None:
    told = explore(world, reference, step, mode, places(reference, step, mode))
    assert not told, told


@pytest.mark.parametrize("mode", OTHERS)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.replace(" ", "-"))
def test_a_failure_at_any_call_changes_nothing_in_the_end(
    world: CrashWorld, reference: Reference, step: Step, mode: Mode
) -> None:
    told = explore(world, reference, step, mode, places(reference, step, mode))
    assert not told, told


def test_no_seam_is_out_of_sight(
    reference: Reference, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """The number of side effects is told, and does not shrink unnoticed."""
    calls = [call for step in STEPS for call in reference.calls[step.name]]
    writes = [call for call in calls if call.writes]
    assert {call.seam.value for call in writes} == {"docker", "git", "sql", "file", "agent"}
    assert len(writes) >= LEAST_K
    record_testsuite_property("K", str(len(writes)))
    record_testsuite_property("calls", str(len(calls)))
