"""Medians with an interval: what a handful of noisy measurements allows to say, and no more.

Intervals are percentile bootstraps of 95 % with a fixed seed: the same samples give the same table. With five
samples that is nearly their range, which is as it should be.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the interval it probably lies in."""

    value: float
    low: float
    high: float


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the value below which that share (0 to 1) of the samples lies, linear between two of them."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def bootstrap(samples: Sequence[float], statistic: Callable[[Sequence[float]], float]) -> Estimate:
    """Return the statistic of the samples with its interval."""
    chance = random.Random(1)  # noqa: S311  # resampling, not a secret
    values = [statistic(chance.choices(samples, k=len(samples))) for _ in range(ROUNDS if len(samples) > 1 else 1)]
    rest = (1 - LEVEL) / 2
    return Estimate(statistic(samples), percentile(values, rest), percentile(values, 1 - rest))


def median(samples: Sequence[float]) -> Estimate:
    """Return the median with its interval."""
    return bootstrap(samples, statistics.median)


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Return the median of the ratios of pairs that were measured one right after the other.

    Pair by pair, because what disturbs the machine lasts longer than one measurement.
    """
    return median([mine / other for mine, other in zip(ours, theirs, strict=True)])


def exactly(value: float) -> Estimate:
    """Return a value that was counted, not measured."""
    return Estimate(value, value, value)
