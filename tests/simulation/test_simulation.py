"""The short run: seeds that must pass, runs that must repeat exactly, and hypothesis, always with the same choices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from simulation.__main__ import main
from simulation.actions import play
from simulation.machine import Explored, Machine, examples, explore
from simulation.mutants import MUTANTS
from simulation.runs import ACTIONS_PER_RUN, Summary, run_many, run_seed
from simulation.simulation import Simulation, Violation
from support.command_line import ROOT

SEEDS = 40
FIRST = 0


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, 10))
def test_no_seed_finds_a_violation(first: int) -> None:
    for seed in range(first, first + 10):
        with Simulation(seed) as simulation:
            play(simulation, ACTIONS_PER_RUN)


def test_nor_when_people_come_through_the_api() -> None:
    for seed in range(5):
        with Simulation(seed, door="api") as simulation:
            play(simulation, ACTIONS_PER_RUN)


def test_a_long_run_finds_none_either() -> None:
    with Simulation(1_000_003) as simulation:
        play(simulation, 6 * ACTIONS_PER_RUN)


def test_a_seed_is_the_same_run_every_time_and_in_every_process() -> None:
    here = run_seed(7)
    assert run_seed(7) == here
    environment = {**os.environ, "PYTHONPATH": "tests:.", "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-m", "simulation", "--seed", "7"]
    there = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert there.returncode == bool(here.violation), there.stderr
    assert there.stdout.splitlines()[:-1] == list(here.trace)


def test_many_seeds_run_on_all_processors() -> None:
    summary = Summary()
    for outcome in run_many(FIRST, 4, None, 5):
        summary.add(outcome)
    assert (summary.seeds, summary.violations) == (4, [])
    assert "4 seeds" in str(summary)


def test_a_violation_says_what_happened_and_how_to_see_it_again() -> None:
    with Simulation(3) as simulation:
        play(simulation, 3)
        with pytest.raises(Violation) as caught:
            simulation.fail("something that must not happen")
    first, second, *trace = str(caught.value).splitlines()
    assert first == "something that must not happen"
    assert second.endswith("python -m simulation --seed 3")
    assert trace


def test_hypothesis_chooses_what_its_seed_says() -> None:
    explore(1, 1)  # hypothesis also tries constants of our modules, and some of them are only loaded by a run
    found = explore(1, 2)
    assert (found.runs, found.violation) == (2, "")
    assert explore(1, 2) == found
    assert explore(2, 2).steps != found.steps


def test_hypothesis_finds_a_mistake_and_tells_the_steps_to_it() -> None:
    with MUTANTS["loses_done"]():
        told = next(found.violation for seed in range(10) if (found := explore(seed, 20)).violation)
    assert "state.teardown()" in told


def test_make_simulate_lets_hypothesis_choose_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def seen(number: int, count: int) -> Explored:
        tried.append(number)
        return Explored(number, count, 0, "" if number else "the one that is told")

    monkeypatch.setattr("simulation.__main__.explore", seen)
    monkeypatch.setattr("simulation.__main__.run", lambda *_: 0)
    monkeypatch.setattr("sys.argv", ["simulation", "--seeds", "1000"])
    assert [main(), main()] == [0, 0]
    assert len(tried) == len(set(tried)) + 1 == 6, "beside the first, which is for warming up, another way each time"
    monkeypatch.setattr("sys.argv", ["simulation", "--machine", "0"])
    assert main() == 1


TestMachine = Machine.TestCase
TestMachine.settings = examples(15, derandomize=True)
