"""What measuring found: for each goal a value with its interval, and the samples it comes from."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .goals import GOALS, Goal, goal
from .intervals import Estimate


@dataclass(slots=True)
class Arm:
    """One way of doing it, measured again and again.

    Attributes:
        unit: of the samples.
        cpu_seconds: of this arm's own processes, per sample.
        machine_cpu_seconds: of the whole machine meanwhile (engine and containers, and whatever else runs).
    """

    unit: str
    samples: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    machine_cpu_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one goal."""

    key: str
    estimate: Estimate
    arms: Mapping[str, Arm] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def goal(self) -> Goal:
        """What was to be reached."""
        return goal(self.key)

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or nothing where there is no goal."""
        if self.goal.limit is None:
            return ""
        return "met" if self.goal.is_met(self.estimate.value) else "missed"


def number(value: float) -> str:
    """Return a number with about three digits."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"


def _value(finding: Finding) -> str:
    estimate = finding.estimate
    unit = "" if finding.goal.unit == "x" else f" {finding.goal.unit}"
    if estimate.low == estimate.high:
        return f"{number(estimate.value)}{unit}"
    return f"{number(estimate.value)}{unit} ({number(estimate.low)} to {number(estimate.high)})"


def _limit(of: Goal) -> str:
    if of.limit is None:
        return ""
    unit = "" if of.unit == "x" else f" {of.unit}"
    return f"{'≥' if of.at_least else '≤'} {number(of.limit)}{unit}"


def _arm(name: str, arm: Arm) -> str:
    text = f"{name} {number(statistics.median(arm.samples))} {arm.unit}"
    if arm.cpu_seconds:
        text += f", CPU {number(statistics.median(arm.cpu_seconds))} s"
    if arm.machine_cpu_seconds:
        text += f" of {number(statistics.median(arm.machine_cpu_seconds))} s"
    return text


def rows(
    findings: Iterable[Finding], errors: Mapping[str, str], *, everything: bool = False
) -> list[tuple[str, str, str, str, str]]:
    """Return the table's rows: what, goal, result, verdict, arms; ``everything`` also has what was not asked for."""
    found = {finding.key: finding for finding in findings}
    table = []
    for each in GOALS:
        finding = found.get(each.key)
        if finding is None:
            if each.module in errors:
                table.append((each.text, _limit(each), "", "failed", errors[each.module]))
            elif everything:
                table.append((each.text, _limit(each), "", "not measured", ""))
            continue
        arms = "; ".join(_arm(name, arm) for name, arm in finding.arms.items() if arm.samples)
        table.append((each.text, _limit(each), _value(finding), finding.verdict, arms))
    return table


HEADER = ("Measure", "Goal", "Result (95 % interval)", "", "Medians")


def as_text(findings: Sequence[Finding], errors: Mapping[str, str]) -> str:
    """Return the table for a terminal."""
    lines = [HEADER, *rows(findings, errors)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:4], widths, strict=True)), line[4]]).rstrip()
        for line in lines
    )


def as_markdown(findings: Sequence[Finding], errors: Mapping[str, str]) -> str:
    """Return the table for docs/performance.md."""
    lines = [HEADER, ("---",) * len(HEADER), *rows(findings, errors, everything=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_json(
    path: Path, findings: Sequence[Finding], errors: Mapping[str, str], about: Mapping[str, object]
) -> dict[str, Any]:
    """Write everything that was found; returns what was written."""
    told: dict[str, Any] = {
        **about,
        "errors": dict(errors),
        "findings": [
            {**asdict(each), "text": each.goal.text, "limit": each.goal.limit, "unit": each.goal.unit}
            | {"verdict": each.verdict}
            for each in findings
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def read_json(path: Path) -> tuple[list[Finding], dict[str, str], dict[str, Any]]:
    """Return what :func:`write_json` wrote: findings, errors, and what they were measured on."""
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    findings = [
        Finding(
            each["key"],
            Estimate(**each["estimate"]),
            {name: Arm(**arm) for name, arm in each["arms"].items()},
            tuple(each["notes"]),
        )
        for each in told.pop("findings")
    ]
    return findings, told.pop("errors"), told
