"""Checks the eight invariants of an installation: ``PYTHONPATH=tests python -m faults.verify --state-dir DIR``.

Before a fault: ``--record FILE``. After it: ``--baseline FILE``. It prints one line for each invariant and ends with
status 1 if one is violated. It reads SQLite, Docker and git itself, never through the product; tests call
:func:`judge` and :func:`check` with what their recorders found.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import invariants
from .baseline import Baseline, record
from .facts import Engine, Facts, read_facts
from .invariants import Verdict
from .recorders import GitLog, Quiet, Requests, cpu_share, load_events, overlaps, starts

POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Measured:
    """What only recorders know; ``None``: it was not recorded.

    Attributes:
        overlaps: moments with two running containers of one uid.
        starts: uid to the times of its starts.
        cpu: share of a core.
        writes: at rest.
    """

    overlaps: Sequence[str] | None = None
    starts: Mapping[str, Sequence[float]] | None = None
    cpu: float | None = None
    writes: Sequence[str] | None = None
    watched: str = ""


NOTHING_MEASURED = Measured()


def judge(facts: Facts, baseline: Baseline | None = None, measured: Measured = NOTHING_MEASURED) -> list[Verdict]:
    """Return the eight verdicts about one look."""
    return [
        invariants.acknowledged(facts, baseline),
        invariants.no_work_lost(facts, baseline),
        invariants.at_most_one(facts, measured.overlaps),
        invariants.no_orphans(facts),
        invariants.hands_off(facts, baseline),
        invariants.converged(facts),
        invariants.no_hot_loop(facts, cpu=measured.cpu, starts=measured.starts),
        invariants.quiescent(measured.writes, measured.watched),
    ]


def check(
    state_dir: Path,
    baseline: Baseline | None = None,
    measured: Measured = NOTHING_MEASURED,
    *,
    engine: Engine | None = None,
    within: float = 0.0,
) -> list[Verdict]:
    """Look until everything holds, at most ``within`` seconds; raises AssertionError with what does not.

    What never becomes right by waiting (I1, I2, I3, I5) fails at the last look like everything else. A look may also
    fail by itself: while a worktree is being added, git finds its HEAD to be no object.
    """
    end = time.monotonic() + within
    while True:
        try:
            verdicts = judge(read_facts(state_dir, engine), baseline, measured)
        except RuntimeError as error:
            if time.monotonic() >= end:
                raise AssertionError(f"nothing can be judged: {error}") from error
            threading.Event().wait(POLL_SECONDS)
            continue
        if all(verdict.holds for verdict in verdicts):
            return verdicts
        if time.monotonic() >= end:
            raise AssertionError("\n".join(map(str, verdicts)))
        threading.Event().wait(POLL_SECONDS)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    baseline = Baseline.load(options.baseline) if options.baseline else None
    if options.record:
        record(read_facts(options.state_dir)).save(options.record)
        return 0
    measured = _measure(options)
    try:
        verdicts = check(options.state_dir, baseline, measured, within=options.within)
    except AssertionError as violated:
        print(violated)  # noqa: T201  # a program for the terminal
        return 1
    print("\n".join(map(str, verdicts)))  # noqa: T201  # the same
    return 0


def _measure(options: argparse.Namespace) -> Measured:
    """Look at the recordings that were named, and make the measurements that were asked for."""
    overlapping, started, cpu, writes = None, None, None, None
    watched: list[str] = []
    if options.events:
        running, events = load_events(options.events)
        overlapping, started = overlaps(running, events), starts(events)
    if options.pid:
        cpu = cpu_share(options.pid, options.cpu_seconds)
    if options.quiet_for:
        quiet = Quiet(options.state_dir / "state.db", None, GitLog(options.git_log) if options.git_log else None)
        try:
            writes = quiet.watch(options.quiet_for)
        finally:
            quiet.close()
        watched = ["SQL", *(["git"] if options.git_log else [])]
    return Measured(overlapping, started, cpu, writes, f"{' and '.join(watched)} watched for {options.quiet_for} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults.verify", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, metavar="DIR", help="state directory to look at")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write what is there now, and judge nothing")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="what was recorded before (I1, I2, I5)")
    parser.add_argument("--within", type=float, default=0.0, metavar="S", help="look again for so many seconds")
    parser.add_argument("--events", type=Path, metavar="FILE", help="what recorders.EventRecorder wrote (I3, I7)")
    parser.add_argument("--pid", type=int, help="the controller, whose CPU is measured (I7)")
    parser.add_argument("--cpu-seconds", type=float, default=5.0, metavar="S", help="for how long (default 5)")
    parser.add_argument("--quiet-for", type=float, metavar="S", help="watch for writes; longer than a resync (I8)")
    parser.add_argument("--git-log", type=Path, metavar="DIR", help="folder of a recorders.GitLog (I8)")
    return parser


__all__ = ["Measured", "Requests", "check", "judge", "main"]

if __name__ == "__main__":
    sys.exit(main())
