"""A gate that has never been red is an assumption: planners that forget a check must fail the properties.

Each mutant breaks one decision of ``plan``; the state machine of ``test_convergence`` has to notice every one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from controller.reconcile import plan as planner
from controller.reconcile.actions import Plan

convergence = importlib.import_module("unit.reconcile.test_convergence")

HUNT = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=list(convergence.TestConvergence.settings.suppress_health_check),
)

MUTANTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "removes a worktree without looking for unsaved work": ("_unsaved", lambda *_: ()),
    "removes a worktree without bringing the commits home": ("_bring_home", lambda *_: ()),
    "does not ask whose folder it is": ("_obstacle", lambda *_: None),
    "does not see that the spec changed": ("_drift", lambda *_: ()),
    "does not see that the session has ended": ("_start_again", lambda *_: Plan()),
    "does not repair the workspace": ("_ensure_workspace", lambda *_: ()),
    "does not stop what should rest": ("_rest", lambda *_: Plan()),
    "never deletes": ("_delete", lambda *_: Plan()),
    "forgets that a suspended session ended because it was told to": ("_just_resumed", lambda *_: False),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planner_that(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, mutant = MUTANTS[name]
    monkeypatch.setattr(planner, function, mutant)
    with pytest.raises((AssertionError, ValueError)):
        run_state_machine_as_test(convergence.Fleet, settings=HUNT)
