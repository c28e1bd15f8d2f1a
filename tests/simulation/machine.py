"""The same world and the same actions in hypothesis' hands: it chooses, and can make a failing example short.

People come through the HTTP API. ``test_simulation.py`` lets it make the same choices each time; ``make simulate``
others at every run, by a seed that is told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from . import people
from .actions import ACTIONS, Action, act, may, tempt
from .simulation import Simulation, Violation

WEIGHED: list[Action] = [action for action, weight in ACTIONS.items() for _ in range(weight)]


class Machine(RuleBasedStateMachine):
    """One example is one run.

    Attributes:
        began: so many runs of this process began, and ``steps`` is how much happened in them.
    """

    began: ClassVar[int] = 0
    steps: ClassVar[int] = 0
    simulation: Simulation | None = None

    @initialize(number=st.integers(0, 2**16))
    def the_world_begins(self, number: int) -> None:
        Machine.began += 1
        self.simulation = Simulation(number, door="api")
        self.simulation.__enter__()
        act(self.simulation, people.declares, self.simulation.random)  # else most short examples are about nothing

    def teardown(self) -> None:
        simulation = self.simulation
        if simulation is None:
            return
        failed = sys.exc_info()[0] is not None
        try:
            if not failed and not simulation.ledger.violations:
                simulation.heal()
                simulation.converge()
        finally:
            Machine.steps += simulation.steps
            simulation.ledger.violations.clear()
            simulation.__exit__(None, None, None)

    @rule(action=st.sampled_from(WEIGHED), choice=st.integers(0, 2**16))
    def something_happens(self, action: Action, choice: int) -> None:
        assert self.simulation is not None
        if may(self.simulation, action):
            act(self.simulation, action, Random(choice))  # noqa: S311  # to be repeated, not to be secret

    @rule(steps=st.sampled_from([3, 20, 60, 200]), order=st.integers(0, 2**16), tempted=st.booleans())
    def the_controller_works(self, steps: int, order: int, *, tempted: bool) -> None:
        assert self.simulation is not None
        self.simulation.random.seed(order)
        for _ in range(steps):
            self.simulation.step()
            if tempted:
                tempt(self.simulation, self.simulation.random)


def examples(count: int, *, derandomize: bool) -> settings:
    """Return how hypothesis is to choose so many examples; ``derandomize``: the same each time."""
    return settings(
        max_examples=count,
        stateful_step_count=30,
        # Shrinking takes minutes; a failing example is printed in full, and whoever wants it small adds Phase.shrink.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        deadline=None,
        report_multiple_bugs=False,
        database=None,
        derandomize=derandomize,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Explored:
    """What came of one seed of hypothesis'.

    Attributes:
        runs: how many examples it tried.
        violation: what must never happen, with the trace and the steps to it as a program; empty when nothing did.
    """

    seed: int
    runs: int
    steps: int
    violation: str


def explore(number: int, count: int) -> Explored:
    """Try so many examples; the same seed tries the same ones."""
    began, steps, violation = Machine.began, Machine.steps, ""
    chosen: Callable[[type[Machine]], type[Machine]] = seed(number)
    try:
        run_state_machine_as_test(chosen(Machine), settings=examples(count, derandomize=False))
    except Violation as error:
        violation = "\n".join([str(error), *error.__notes__])
    return Explored(number, Machine.began - began, Machine.steps - steps, violation)
