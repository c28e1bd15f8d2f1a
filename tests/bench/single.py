"""Options on the command line, and one measure run alone: ``python -m bench.start --pairs 2``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from types import FrameType

from .findings import Finding, as_text
from .run import Options, Run

QUICK = Options(pairs=1, sizes=(1, 2), fleet=4, fakes=(20, 50, 100), posts=50, window=8.0, seconds=0.5)
"""Enough to see that everything works, too little to believe a number."""


class Stopped(BaseException):
    """A signal or the alarm; a ``BaseException`` so that no measure takes it for a failure of its own."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what there is to choose."""
    parser.add_argument("--quick", action="store_true", help="little of everything: does it work?")
    parser.add_argument("--pairs", type=int, help="how often each arm is measured")
    parser.add_argument("--fleet", type=int, help="instances for what needs many")
    parser.add_argument("--sizes", type=lambda text: tuple(map(int, text.split(","))), help="for example 1,5,20")
    parser.add_argument("--fakes", type=lambda text: tuple(map(int, text.split(","))), help="for example 100,1000,5000")
    parser.add_argument("--posts", type=int, help="instances declared at once on the fake runtime")
    parser.add_argument("--window", type=float, help="seconds for which an idle fleet is looked at")


def options_from(arguments: argparse.Namespace) -> Options:
    """Return the options that were chosen."""
    base = QUICK if arguments.quick else Options()
    chosen = {each.name: getattr(arguments, each.name, None) for each in fields(Options)}
    return replace(base, **{name: value for name, value in chosen.items() if value is not None})


def stop_at_signals(seconds: int) -> None:
    """Let signals, and the end of the time there is, end the run in good order."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)
    signal.alarm(seconds)


def main(measure: Callable[[Run], list[Finding]]) -> None:
    """Run one measure and print its part of the table."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = options_from(parser.parse_args())
    stop_at_signals(1200)
    with Run(options) as run:
        sys.stdout.write(as_text(measure(run), {}) + "\n")
