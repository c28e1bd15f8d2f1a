from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from controller.resources import (
    Condition,
    ConditionStatus,
    DisplayState,
    Instance,
    InstanceSpec,
    InstanceStatus,
    Metadata,
    OperatingMode,
    Resources,
    SessionState,
    SessionStatus,
    Usage,
)
from ui.web.view import NO_VALUE, Action, attention_title, human_bytes, paragraphs, shorten, view_of, words

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MiB = 1024**2


def ready(status: str = "True", reason: str = "Ready", message: str = "") -> Condition:
    return Condition(
        type="Ready",
        status=ConditionStatus(status),
        reason=reason,
        message=message,
        last_transition_at=NOW - timedelta(minutes=2),
    )


def session(state: SessionState, waiting_for: str | None = None, tool: str | None = None) -> SessionStatus:
    return SessionStatus(state=state, since=NOW - timedelta(seconds=30), waiting_for=waiting_for, tool=tool)


def instance(
    conditions: Sequence[Condition] = (),
    session: SessionStatus | None = None,
    mode: OperatingMode = OperatingMode.RUNNING,
    usage: Usage | None = None,
    deletion_requested_at: datetime | None = None,
) -> Instance:
    return Instance(
        metadata=Metadata(
            name="web", uid="u1", created_at=NOW - timedelta(hours=1), deletion_requested_at=deletion_requested_at
        ),
        spec=InstanceSpec(repository="shop", operating_mode=mode, resources=Resources(memory=1024 * MiB)),
        status=InstanceStatus(conditions=tuple(conditions), session=session, usage=usage),
    )


UP = [ready()]

DOING = {
    "a working Claude without a tool thinks": (session(SessionState.WORKING), "Thinking"),
    "a running tool is named": (session(SessionState.WORKING, tool="Bash"), "Using Bash"),
    "a permission says for what": (
        session(SessionState.WAITING, waiting_for="permission prompt", tool="Bash"),
        "Asks to use Bash",
    ),
    "a permission without a tool": (
        session(SessionState.WAITING, waiting_for="permission prompt"),
        "Asks for permission",
    ),
    "a question": (session(SessionState.WAITING, waiting_for="input needed"), "Asks a question"),
    "another wait keeps its words": (session(SessionState.WAITING, waiting_for="dialog open"), "Waits: dialog open"),
    "a wait for nothing known": (session(SessionState.WAITING), "Waits for you"),
    "an idle one": (session(SessionState.IDLE), "Waits for a prompt"),
}


@pytest.mark.parametrize(("status", "text"), DOING.values(), ids=DOING.keys())
def test_what_claude_does(status: SessionStatus, text: str) -> None:
    view = view_of(instance(UP, status))
    assert view.doing == text
    assert view.doing_since == status.since


def test_the_sentence_of_an_error_is_what_it_does() -> None:
    view = view_of(instance([ready("False", "CrashLoop", "ended five times; see 'cco logs web'")]))
    assert (view.state, view.doing) == (DisplayState.ERROR, "Ended five times; see 'cco logs web'")
    assert view.needs_person
    assert view.doing_since == NOW - timedelta(minutes=2)


def test_what_one_that_is_up_has_to_tell_stands_beside_what_claude_does() -> None:
    idle = session(SessionState.IDLE)
    view = view_of(instance([ready(reason="Diverged", message="both lines are kept; merge them")], idle))
    assert (view.doing, view.detail) == ("Waits for a prompt", "Both lines are kept; merge them")
    assert view_of(instance(UP, idle)).detail == ""


def test_an_instance_nobody_has_looked_at_waits_for_the_controller() -> None:
    view = view_of(instance())
    assert (view.state, view.doing, view.doing_since) == (DisplayState.STARTING, "Waits for the controller", None)


ACTIONS = {
    "running": (instance(UP, session(SessionState.IDLE)), (Action.SUSPEND, Action.RESTART, Action.STOP, Action.DELETE)),
    "failed": (
        instance([ready("False", "CrashLoop")]),
        (Action.RESTART, Action.SUSPEND, Action.STOP, Action.DELETE),
    ),
    "suspended": (
        instance([ready("False", "Suspended")], mode=OperatingMode.SUSPENDED),
        (Action.RESUME, Action.STOP, Action.DELETE),
    ),
    "stopped": (instance([ready("False", "Stopped")], mode=OperatingMode.STOPPED), (Action.START, Action.DELETE)),
    "going": (instance(UP, deletion_requested_at=NOW), ()),
}


@pytest.mark.parametrize(("item", "actions"), ACTIONS.values(), ids=ACTIONS.keys())
def test_only_actions_that_make_sense_are_offered(item: Instance, actions: tuple[Action, ...]) -> None:
    assert view_of(item).actions == actions


def test_usage_is_shown_with_its_limit() -> None:
    usage = Usage(cpu_percent=42.4, memory_bytes=256 * MiB, at=NOW)
    view = view_of(instance(UP, session(SessionState.IDLE), usage=usage))
    assert view.cpu == "42 %"
    assert view.cpu_share == pytest.approx(0.424)
    assert (view.memory, view.memory_limit, view.memory_share) == ("256 MiB", "1 GiB", 0.25)


def test_the_last_usage_of_a_stopped_instance_is_not_shown() -> None:
    usage = Usage(cpu_percent=42.4, memory_bytes=256 * MiB, at=NOW)
    view = view_of(instance([ready("False", "Stopped")], mode=OperatingMode.STOPPED, usage=usage))
    assert (view.cpu, view.memory, view.memory_share) == (NO_VALUE, NO_VALUE, 0.0)


def test_what_an_agent_calls_its_tool_is_one_short_line() -> None:
    hostile = "\x1b]52;c;aGk=\x07<script>\u202ealert(1)</script>\n" * 20
    view = view_of(instance(UP, session(SessionState.WORKING, tool=hostile)))
    assert len(view.doing) <= 70
    assert not set("\x1b\x07\n\u202e") & set(view.doing)


def test_the_title_counts_those_who_need_a_person() -> None:
    waiting = view_of(instance(UP, session(SessionState.WAITING)))
    idle = view_of(instance(UP, session(SessionState.IDLE)))
    assert attention_title([waiting, idle, waiting], "Fleet") == "(2) Fleet"
    assert attention_title([idle], "Fleet") == "Fleet"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (64 * MiB, "64 MiB"),
        (1000 * MiB, "1.0 GiB"),
        (2 * 1024 * MiB, "2 GiB"),
        (3 * 1024**4, "3.0 TiB"),
    ],
)
def test_bytes_for_people(value: int, text: str) -> None:
    assert human_bytes(value) == text


@pytest.mark.parametrize(
    ("camel", "text"),
    [
        ("CrashLoop", "Crash loop"),
        ("Ready", "Ready"),
        ("WorkspaceReady", "Workspace ready"),
        ("OOMKilled", "OOMKilled"),
    ],
)
def test_reasons_as_prose(camel: str, text: str) -> None:
    assert words(camel) == text


def test_a_prompt_keeps_its_lines_and_loses_what_would_not_show() -> None:
    assert paragraphs("one\n\n\ttwo\x1b[31m\u202e\r\nthree") == "one\n\n    two [31m \nthree"
    assert len(paragraphs("x" * 200_000)) < 20_010


def test_long_texts_end_in_an_ellipsis() -> None:
    assert shorten("x" * 500, 10) == "x" * 9 + "…"
    assert shorten("fits", 4) == "fits"
