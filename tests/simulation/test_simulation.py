"""The short run: seeds that must pass, runs that must repeat exactly, and the same actions in hypothesis' hands."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from simulation.actions import ACTIONS, Action, act, play, tempt
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


class Machine(RuleBasedStateMachine):
    """The same world and the same actions; hypothesis chooses, and makes a failing example short."""

    def __init__(self) -> None:
        super().__init__()
        self.simulation = Simulation(0)
        self.simulation.__enter__()

    def teardown(self) -> None:
        failed = sys.exc_info()[0] is not None
        try:
            if not failed and not self.simulation.ledger.violations:
                self.simulation.heal()
                self.simulation.converge()
        finally:
            self.simulation.ledger.violations.clear()
            self.simulation.__exit__(None, None, None)

    @rule(action=st.sampled_from(list(ACTIONS)), choice=st.integers(0, 2**16))
    def something_happens(self, action: Action, choice: int) -> None:
        act(self.simulation, action, Random(choice))  # noqa: S311  # to be repeated, not to be secret

    @rule(steps=st.sampled_from([1, 5, 20, 60]), order=st.integers(0, 2**16), tempted=st.booleans())
    def the_controller_works(self, steps: int, order: int, *, tempted: bool) -> None:
        self.simulation.random.seed(order)
        for _ in range(steps):
            self.simulation.step()
            if tempted:
                tempt(self.simulation, self.simulation.random)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    # Shrinking takes minutes; a failing example is printed in full, and whoever wants it small adds Phase.shrink.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    report_multiple_bugs=False,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
