"""``make simulate``: many seeded runs of the loop in a failing world; one seed alone is replayed with its trace.

After them hypothesis chooses, another way each time: a tenth as many runs, or for a tenth of the time.

PYTHONPATH=tests:. python -m simulation --seeds 10000
PYTHONPATH=tests:. python -m simulation --minutes 60
PYTHONPATH=tests:. python -m simulation --seed 4711
PYTHONPATH=tests:. python -m simulation --machine 4711
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from .machine import explore
from .runs import ACTIONS_PER_RUN, Summary, run_many, run_seed

PROGRESS_SECONDS = 30.0
MACHINE_BATCH = 50


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def replay(seed: int, actions: int) -> int:
    """Play one seed and print everything that happened."""
    outcome = run_seed(seed, actions)
    for line in outcome.trace:
        say(line)
    say(f"violation: {outcome.violation.splitlines()[0]}" if outcome.violation else f"seed {seed}: no violation")
    return bool(outcome.violation)


def run(first: int, seeds: int | None, minutes: float | None, actions: int) -> int:
    """Play many seeds; prints each violation when it is found, and the sum."""
    summary, began = Summary(), time.monotonic()
    told = began
    for outcome in run_many(first, seeds, minutes, actions):
        summary.add(outcome)
        summary.seconds = time.monotonic() - began
        if outcome.violation:
            say(f"seed {outcome.seed}: {outcome.violation.splitlines()[0]}")
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            say(f"... {summary}")
    say(str(summary))
    for outcome in summary.violations:
        say(f"replay: PYTHONPATH=tests:. python -m simulation --seed {outcome.seed} --steps {actions}")
    return bool(summary.violations)


def let_hypothesis_choose(seed: int, runs: int, minutes: float) -> bool:
    """Let it try at least so many runs, and go on until the time is up; tells whether one was a violation.

    A seed stands for ``MACHINE_BATCH`` runs.
    """
    explore(0, 1)  # hypothesis also tries constants of our modules, and some of them are only loaded by a run
    began, done, number = time.monotonic(), 0, seed
    while done < runs or time.monotonic() - began < 60 * minutes:
        found = explore(number, MACHINE_BATCH)
        done += found.runs
        if found.violation:
            say(f"hypothesis, seed {number}: {found.violation}")
            say(f"replay: PYTHONPATH=tests:. python -m simulation --machine {number}")
            return True
        number += 1
    say(f"hypothesis: {done} runs from seed {seed}, {time.monotonic() - began:.0f} s, 0 violations")
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description="Seeded simulation of the whole loop.")
    parser.add_argument("--seed", type=int, help="replay this one and print its trace")
    parser.add_argument("--seeds", type=int, help="play so many")
    parser.add_argument("--minutes", type=float, help="play for so long")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=ACTIONS_PER_RUN, help="what people and the world do in each run")
    parser.add_argument("--machine", type=int, metavar="SEED", help="let hypothesis choose as it did with this seed")
    flags = parser.parse_args()
    if flags.seed is not None:
        return replay(flags.seed, flags.steps)
    if flags.machine is not None:
        return let_hypothesis_choose(flags.machine, MACHINE_BATCH, 0)
    seeds = 1000 if flags.seeds is None and flags.minutes is None else flags.seeds
    minutes = None if flags.minutes is None else 0.9 * flags.minutes
    failed = run(flags.first, seeds, minutes, flags.steps)
    runs = max((seeds or 0) // 10, 1)
    return let_hypothesis_choose(secrets.randbelow(2**32), runs, 0.1 * (flags.minutes or 0)) or failed


if __name__ == "__main__":
    sys.exit(main())
