"""Runs of many seeds, and what they sum up to."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from .actions import play
from .simulation import Simulation, Violation

ACTIONS_PER_RUN = 40
_BATCH = 20


@dataclass(frozen=True)
class Outcome:
    """What came of one seed.

    Attributes:
        simulated: seconds on the simulated clock.
        violation: what must never happen, with the trace; empty when nothing of it did.
    """

    seed: int
    steps: int
    passes: int
    simulated: float
    violation: str = ""
    trace: tuple[str, ...] = ()


@dataclass
class Summary:
    """The sum of many outcomes."""

    seeds: int = 0
    steps: int = 0
    passes: int = 0
    simulated: float = 0.0
    seconds: float = 0.0
    violations: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.seeds += 1
        self.steps += outcome.steps
        self.passes += outcome.passes
        self.simulated += outcome.simulated
        if outcome.violation:
            self.violations.append(outcome)

    def __str__(self) -> str:
        rate = max(self.seconds, 1e-9)
        return (
            f"{self.seeds} seeds, {self.steps} steps, {self.passes} passes, {self.simulated / 3600:.0f} h simulated, "
            f"{self.seconds:.0f} s, {self.steps / rate:.0f} steps/s, {self.passes / rate:.0f} passes/s, "
            f"{len(self.violations)} violations"
        )


def run_seed(seed: int, actions: int = ACTIONS_PER_RUN) -> Outcome:
    """Play one seed; a violation is an outcome, not an error."""
    violation = ""
    simulation = Simulation(seed)
    try:
        with simulation:
            play(simulation, actions)
    except Violation as error:
        violation = str(error)
    simulated = simulation.schedule.now - simulation.began
    trace = tuple(simulation.trace)
    return Outcome(seed, simulation.steps, simulation.ledger.total_passes, simulated, violation, trace)


def _run_batch(first: int, count: int, actions: int) -> list[Outcome]:
    return [run_seed(seed, actions) for seed in range(first, first + count)]


def run_many(first: int, seeds: int | None, minutes: float | None, actions: int) -> Iterator[Outcome]:
    """Play seeds from ``first`` on all processors, until there were enough or the time is up."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    last = None if seeds is None else first + seeds
    jobs = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: set[Future[list[Outcome]]] = set()
        following = first
        while True:
            more = (last is None or following < last) and (end is None or time.monotonic() < end)
            while more and len(running) < 2 * jobs:
                count = _BATCH if last is None else min(_BATCH, last - following)
                running.add(pool.submit(_run_batch, following, count, actions))
                following += count
                more = last is None or following < last
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                yield from each.result()
