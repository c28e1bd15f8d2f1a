"""What Claude Code writes is read defensively."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts import FileStatus, read_hook, read_session_file

QUESTION = {"question": "Which?", "options": [{"label": "Yes"}, {"label": "No"}], "multiSelect": False}


def asked(*questions: Any) -> tuple[str, ...]:  # noqa: ANN401 - any shape is the point
    hook = read_hook({"hook_event_name": "PermissionRequest", "tool_input": {"questions": list(questions)}}, 1.0)
    assert hook is not None
    return hook.options


def test_a_hook() -> None:
    hook = read_hook(
        {
            "hook_event_name": "PreToolUse",
            "session_id": "s",
            "agent_id": "a",
            "tool_name": "Bash",
            "tool_use_id": "c",
            "tool_input": {"command": "ls"},
        },
        1.0,
    )
    assert hook is not None
    assert (hook.at, hook.name, hook.session_id, hook.agent, hook.tool, hook.call) == (
        1.0,
        "PreToolUse",
        "s",
        "a",
        "Bash",
        "c",
    )


@pytest.mark.parametrize(
    ("tasks", "run"),
    [
        ([{"type": "subagent"}], True),
        ([{"type": "shell"}, {"type": "subagent"}], True),
        ([{"type": "shell"}], False),
        ([], False),
        (["subagent"], False),
        ({"type": "subagent"}, False),
        (None, False),
    ],
)
def test_only_sub_agents_in_the_background_are_work(tasks: object, run: bool) -> None:  # noqa: FBT001 - a column
    hook = read_hook({"hook_event_name": "Stop", "background_tasks": tasks}, 1.0)
    assert hook is not None
    assert hook.agents_run is run


def test_why_a_turn_failed() -> None:
    failure = {"hook_event_name": "StopFailure", "error": "rate_limit"}
    told = [read_hook(failure, 1.0), read_hook({**failure, "last_assistant_message": "Back at 5pm"}, 1.0)]
    assert [hook.trouble for hook in told if hook] == ["rate_limit", "rate_limit: Back at 5pm"]


def test_a_question_with_one_choice_has_options() -> None:
    assert asked(QUESTION) == ("Yes", "No")
    assert asked(QUESTION, QUESTION) == ()
    assert asked({**QUESTION, "multiSelect": True}) == ()
    assert asked({**QUESTION, "options": [{"label": "Yes"}, {"label": 3}]}) == ()
    assert asked({**QUESTION, "options": "Yes"}) == ()
    assert asked("Which?") == ()


def test_answers() -> None:
    hook = read_hook({"hook_event_name": "PostToolUse", "tool_response": {"answers": {"Which?": "blue", "x": 1}}}, 1.0)
    assert hook is not None
    assert hook.answers == ("blue",)


def test_a_prompt_is_kept_whole() -> None:
    hook = read_hook({"hook_event_name": "UserPromptSubmit", "prompt": "x" * 5000, "reason": "y" * 5000}, 1.0)
    assert hook is not None
    assert (len(hook.prompt or ""), len(hook.reason or "")) == (5000, 200)


@pytest.mark.parametrize(
    ("file", "status"),
    [
        ({"status": "idle", "sessionId": "s"}, FileStatus(9.0, "idle", None, "s")),
        ({"status": "busy", "statusUpdatedAt": 8500}, FileStatus(8.5, "working")),
        ({"status": "shell"}, FileStatus(9.0, "idle")),
        ({"status": "waiting", "waitingFor": "input needed"}, FileStatus(9.0, "waiting", "input needed")),
        ({"status": "waiting"}, FileStatus(9.0, "waiting", "dialog open")),
        ({"status": "idle", "statusUpdatedAt": 99_000_000}, FileStatus(9.0, "idle")),
        ({"status": "idle", "statusUpdatedAt": "soon"}, FileStatus(9.0, "idle")),
        ({"status": "dreaming"}, None),
        ({}, None),
        ({"status": 3}, None),
    ],
)
def test_a_session_file(file: dict[str, Any], status: FileStatus | None) -> None:
    assert read_session_file(file, 9.0) == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["hook_event_name", "session_id", "tool_input", "tool_response", "background_tasks", "prompt", "status"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_nothing_that_is_written_is_too_strange(data: dict[str, Any]) -> None:
    hook = read_hook(data, 1.0)
    assert (hook is None) == (not isinstance(data.get("hook_event_name"), str) or not data["hook_event_name"])
    read_session_file(data, 1.0)
