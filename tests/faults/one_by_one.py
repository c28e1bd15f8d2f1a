"""Runs a step of the workload with one fault, and compares its end with the reference's. Used by the in-process arm.

A step that ends in the reference's picture continues as the reference does, so each fault costs one step and not the
whole workload.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass

from .baseline import Baseline, record
from .crash_world import CrashWorld
from .facts import read_facts
from .injector import Call, Fault, Injector, Mode
from .invariants import Verdict
from .verify import Measured, judge
from .workload import Reference, Step, picture

CRASHES = frozenset({Mode.CRASH_BEFORE, Mode.CRASH_AFTER})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run with one fault ended; ``problems`` is empty when it ended like the reference."""

    step: str
    fault: Fault
    call: Call | None
    deaths: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        about = "\n".join(self.problems)
        return f"{self.step}: {self.fault.mode} at {self.fault.at} ({self.call}), {self.deaths} deaths\n{about}"


def run_with(world: CrashWorld, reference: Reference, step: Step, fault: Fault) -> Outcome:
    """Run one step with one fault."""
    world.go_back(reference.before[step.name])
    injector = Injector(fault)
    deaths, problems = 0, []
    with world.watched(injector):
        step.act(world)
        baseline = record(read_facts(world.settings.state_dir, world.facts_of_engine()))
        try:
            deaths = world.work()
            if fault.mode not in CRASHES:
                world.tick(step.mended_after)
                world.resync()
                world.work()  # what a wrong answer spoiled is mended one resync later
        except AssertionError as error:
            problems.append(str(error))
        writes = _writes_of_one_more_pass(world)
    if injector.fired is None or (fault.mode in CRASHES and deaths != 1):
        problems.append("the fault never happened")
    if fault.mode is not Mode.STALE:  # what was built on an old picture may have been built twice
        problems += _differences(reference.after[step.name], picture(world))
    problems += [str(verdict) for verdict in _verdicts(world, baseline, writes) if not verdict.holds]
    return Outcome(step.name, fault, injector.fired, deaths, tuple(problems))


def _writes_of_one_more_pass(world: CrashWorld) -> list[str]:
    """I8: a resync after everything came to rest."""
    quiet = Injector()
    world.injector = quiet
    with world.watched(quiet):
        world.resync()
        quiet.active = True
        world.one_pass_of_all()
        quiet.active = False
    return [str(call) for call in quiet.calls if call.writes]


def _verdicts(world: CrashWorld, baseline: Baseline, writes: list[str]) -> list[Verdict]:
    overlaps = [f"{world.most_running} containers ran at once"] if world.most_running > 1 else []
    facts = read_facts(world.settings.state_dir, world.facts_of_engine())
    return judge(facts, baseline, Measured(overlaps=overlaps, writes=writes, watched="one resync"))


def _differences(wanted: object, found: object) -> list[str]:
    if wanted == found:
        return []
    before, after = (json.dumps(each, indent=1, sort_keys=True).splitlines() for each in (wanted, found))
    return list(difflib.unified_diff(before, after, "reference", "after the fault", n=0, lineterm=""))
