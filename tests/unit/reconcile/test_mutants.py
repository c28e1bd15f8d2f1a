"""A gate that has never been red is an assumption: planners that forget a check must fail a test.

Each mutant breaks one decision of ``plan``; the named one of the ``SCENARIOS`` has to
notice it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from controller.reconcile import deletion
from controller.reconcile import plan as planner
from controller.reconcile.actions import Plan
from support.world import World

SCENARIOS = {
    **vars(importlib.import_module("unit.reconcile.test_lifecycle")),
    **vars(importlib.import_module("unit.reconcile.test_deletion")),
    **vars(importlib.import_module("unit.reconcile.test_obstacles")),
}


def nothing(*_: object, **__: object) -> tuple[()]:
    return ()


def no(*_: object) -> None:
    return None


def rests(*_: object) -> Plan:
    return Plan()


MUTANTS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "deletes without looking for unsaved work": ("_unsaved", nothing, "test_delete_saves_work_and_leaves_nothing_else"),
    "deletes without bringing commits home": ("_bring_home", nothing, "test_delete_saves_work_and_leaves_nothing_else"),
    "does not ask whose folder it is": ("_obstacle", no, "test_a_foreign_worktree_blocks"),
    "does not ask whose container it is": ("_obstacle", no, "test_two_containers_with_one_uid_block"),
    "does not see that the spec changed": (
        "_drift",
        nothing,
        "test_a_changed_model_restarts_the_session_and_keeps_the_container",
    ),
    "does not see that the session ended": (
        "_start_again",
        rests,
        "test_a_killed_session_runs_again_with_the_same_container",
    ),
    "does not repair the workspace": ("_ensure_workspace", nothing, "test_a_declared_instance_becomes_ready"),
    "does not stop what should rest": ("_rest", rests, "test_stop_removes_the_container_and_keeps_work_and_home"),
    "never deletes": ("delete", rests, "test_delete_keeps_the_worktree_where_the_policy_says_so"),
    "restarts without pacing": ("held_back", no, "test_the_first_crash_is_restarted_at_once_and_the_second_waits"),
    "types into a permission dialog": (
        "takes_input",
        lambda *_: True,
        "test_a_prompt_waits_for_idle_and_is_acknowledged",
    ),
    "never restarts a silent agent": ("_overdue", no, "test_silence_is_told_and_at_last_ended"),
    "leaves commits in the box": ("_collect_changed", nothing, "test_commits_come_home_when_the_agent_says_so"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planner_that(name: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    function, mutant, scenario = MUTANTS[name]
    monkeypatch.setattr(planner if hasattr(planner, function) else deletion, function, mutant)
    with pytest.raises((AssertionError, ValueError)):
        SCENARIOS[scenario](world)
