"""A simulation that has never found anything is an assumption: controllers with one mistake must be caught by it."""

from __future__ import annotations

import pytest

from simulation.mutants import MUTANTS
from simulation.runs import run_seed

BUDGET = 60
"""Seeds within which each of them has to be found; most are within the first ten."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_controller_that(name: str) -> None:
    with MUTANTS[name]():
        assert any(run_seed(seed).violation for seed in range(BUDGET))
