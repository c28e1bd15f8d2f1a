"""``make simulate``: many seeded runs of the loop in a failing world; one seed alone is replayed with its trace.

PYTHONPATH=tests:. python -m simulation --seeds 10000
PYTHONPATH=tests:. python -m simulation --minutes 60
PYTHONPATH=tests:. python -m simulation --seed 4711
"""

from __future__ import annotations

import argparse
import sys
import time

from .runs import ACTIONS_PER_RUN, Summary, run_many, run_seed

PROGRESS_SECONDS = 30.0


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description="Seeded simulation of the whole loop.")
    parser.add_argument("--seed", type=int, help="replay this one and print its trace")
    parser.add_argument("--seeds", type=int, help="play so many")
    parser.add_argument("--minutes", type=float, help="play for so long")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=ACTIONS_PER_RUN, help="what people and the world do in each run")
    flags = parser.parse_args()
    if flags.seed is not None:
        return replay(flags.seed, flags.steps)
    seeds = 1000 if flags.seeds is None and flags.minutes is None else flags.seeds
    return run(flags.first, seeds, flags.minutes, flags.steps)


if __name__ == "__main__":
    sys.exit(main())
