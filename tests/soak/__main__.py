"""``make soak``: a fleet works for hours while something goes wrong every half minute; all invariants, all the time.

After each fault ``verify`` must be satisfied again; from time to time it also watches the system at rest. At the end
the memory and the open files of controller and server must not have grown. One seed is one choice of faults (their
effects have a time of their own). Progress goes to stdout, the result as JSON to ``--out``.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from faults.real_world import build_images
from faults.world.installation import CLIENT, PERSON, World, installation
from support.host_system import make_repository
from support.model_container import model_container

from .chaos import DEATHS, ENDS_A_RUN, FAULTS, OF_TALKERS, Fault, Fleet
from .gauges import Gauge, sample

RESYNC_SECONDS = 10
CONVERGE_SECONDS = 420.0
"""The longest legal wait is a crash loop's delay (300 s) and what comes after it."""
MAX_RSS_SLOPE = 1.0
MAX_FDS_SLOPE = 2.0
SLOPE_HOURS = 6.0
"""Only so long a life has a slope to speak of. Before that memory is filled that has an end: what the controller
remembers of files and commits, the last lines of its log; and Python asks for it by the whole MiB."""
MAX_RSS_GROWTH = 6.0
MAX_FDS_GROWTH = 5.0
"""MiB, and files, for a shorter life."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 when an invariant was violated or something grew."""
    options = _parser().parse_args(arguments)
    seed = options.seed if options.seed is not None else secrets.randbelow(2**32)
    fleet_is = f"{options.instances} instances, {options.clients} with the real client"
    print(f"seed {seed}: {fleet_is}, {options.minutes} min", flush=True)  # noqa: T201  # for the terminal
    build_images()
    settings = {"CCO_RESYNC_SECONDS": str(RESYNC_SECONDS), "CCO_HEARTBEAT_SECONDS": "5", "CCO_MAX_INSTANCES": "0"}
    with model_container() as model, installation(model, settings) as place, _folder() as folder:
        repository = make_repository(folder / "shop", owner=PERSON)
        world = World(place, repository)
        world.register()
        names = [f"soak-{number}" for number in range(options.instances)]
        chance = random.Random(seed)  # noqa: S311  # repeatable on purpose
        fleet = Fleet(world, names, frozenset(names[: options.clients]), chance)
        _spawn(fleet)
        result = _soak(fleet, options)
        try:
            world.close()
        except AssertionError as error:
            result["violations"] = [*result["violations"], f"at the end: {error}"]
    result["seed"] = seed
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result), encoding="utf-8")
    del result["samples"]
    print(json.dumps(result, indent=1))  # noqa: T201  # for the terminal
    return 1 if result["violations"] or result["grown"] else 0


def _spawn(fleet: Fleet) -> None:
    for name in fleet.names:
        image = {"image": CLIENT, "prompt": "STEP say Hello."} if name in fleet.talkers else {}
        fleet.world.spawn(name, **image)
    fleet.world.until_ready(*fleet.names, timeout=300)


def _soak(fleet: Fleet, options: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    end, deaths_end = began + options.minutes * 60, began + options.minutes * 20
    gauges = {"controller": Gauge(), "ui.server": Gauge()}
    told: Counter[str] = Counter()
    violations: list[str] = []
    rounds = 0
    while (now := time.monotonic()) < end and not violations:
        rounds += 1
        fault = fleet.chance.choice(_choice(options.only, dying=now < deaths_end))
        told[fault.__name__] += 1
        what = fault.__name__
        try:
            what = _round(fleet, fault, at_rest=rounds % 5 == 0)
            for module, gauge in gauges.items():
                gauge.samples.append(sample(fleet.world.place.processes[module].pid, time.monotonic() - began))
        except Exception as error:  # noqa: BLE001  # whatever it is, hours of looking on must not be lost with it
            violations.append(f"round {rounds}, {what}: {type(error).__name__}: {error}")
        took = time.monotonic() - now
        print(f"{(time.monotonic() - began) / 60:6.1f} min  {what}  ({took:.1f} s)", flush=True)  # noqa: T201  # for the terminal
        _rest(min(now + options.every, end))
    summaries = {module: gauge.summary() for module, gauge in gauges.items()}
    return {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "instances": options.instances,
        "rounds": rounds,
        "commits": fleet.work,
        "retries": fleet.retries,
        "faults": dict(sorted(told.items())),
        "violations": violations,
        "processes": summaries,
        "grown": _grown(summaries),
        "samples": {module: [asdict(each) for each in gauge.samples] for module, gauge in gauges.items()},
    }


def _choice(only: list[str], *, dying: bool) -> list[Fault]:
    """Return what may go wrong now; ``dying``: our own processes may be killed, too. Who names some gets those."""
    if only:
        return [each for each in (*FAULTS, *DEATHS) if each.__name__ in only]
    return [*FAULTS, *(DEATHS if dying else ())]


def _round(fleet: Fleet, fault: Fault, *, at_rest: bool) -> str:
    """Let some work, one thing go wrong, and judge; returns what went wrong in a few words."""
    fleet.do_work()
    target = fleet.one(talker=fault in OF_TALKERS)
    if target is None:
        what = f"{fault.__name__}: nothing is up"
    else:
        before = fleet.run_of(target)
        what = fault(fleet, target)
        if fault in ENDS_A_RUN:
            again = partial(fleet.is_up_again, target, before)
            fleet.world.until(again, f"it is up again after {what}", timeout=CONVERGE_SECONDS)
    if at_rest:  # what nobody announces is only seen by the next resync
        _rest(time.monotonic() + 1.5 * RESYNC_SECONDS)
    try:
        fleet.world.verify(within=CONVERGE_SECONDS, rest=at_rest, seconds=2.4 * RESYNC_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
    return what


def _grown(summaries: dict[str, dict[str, float]]) -> list[str]:
    """Return what grew; a very short soak says nothing about that."""
    long = (("rss_slope_mib_per_hour", MAX_RSS_SLOPE), ("fds_slope_per_hour", MAX_FDS_SLOPE))
    short = (("rss_growth_mib", MAX_RSS_GROWTH), ("fds_growth", MAX_FDS_GROWTH))
    return [
        f"{module}: {key} is {summary[key]}, at most {most:g} is right"
        for module, summary in summaries.items()
        if (hours := summary.get("hours", 0)) >= 0.4
        for key, most in (long if hours >= SLOPE_HOURS else short)
        if summary[key] > most
    ]


def _rest(until: float) -> None:
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))


@contextmanager
def _folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="cco-soak-"))
    made.chmod(0o777)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=24 * 60, help="how long (default: a day)")
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--clients", type=int, default=3, help="so many run the real client (default 3)")
    parser.add_argument("--every", type=float, default=30, metavar="S", help="a fault every so many seconds")
    parser.add_argument("--seed", type=int, help="repeat the choices of an earlier run")
    names = [each.__name__ for each in (*FAULTS, *DEATHS)]
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="FAULT", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=Path(".cache/soak/result.json"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
