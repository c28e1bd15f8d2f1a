"""Every rule of the derivation, one row each: what is learnt, and what Claude is doing then."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts import Died, Fact, FileStatus, Hook, Launched
from agent.session import PATIENCE, Session, apply, derive, settle, without_file

LAUNCHED = Launched(0.0, 7, "s1", prompted=False)
PROMPTED = Launched(0.0, 7, "s1", prompted=True)
READY = FileStatus(1.0, "idle", None, "s1")


def hook(at: float, name: str, **fields: object) -> Hook:
    return Hook(at, name, **fields)  # type: ignore[arg-type]  # rows of a table


SUBMIT = hook(2.0, "UserPromptSubmit", prompt="do it")
BUSY = FileStatus(2.1, "working")
BASH = hook(3.0, "PreToolUse", tool="Bash", call="c1")
ASK_BASH = hook(3.1, "PermissionRequest", tool="Bash")
ASKED = FileStatus(3.1, "waiting", "permission prompt")
BASH_DONE = hook(4.0, "PostToolUse", tool="Bash", call="c1")
STOP = hook(5.0, "Stop")
QUESTION = hook(3.1, "PermissionRequest", tool="AskUserQuestion", options=("Yes", "No"))
CLEARED = (hook(6.0, "SessionEnd", reason="clear"), hook(6.1, "SessionStart", source="clear", session_id="s2"))
WORKING = (LAUNCHED, READY, SUBMIT, BUSY)
WAITING = (*WORKING, BASH, ASK_BASH, ASKED)


@dataclass(frozen=True)
class Row:
    facts: tuple[Fact, ...]
    state: str
    now: float = 100.0
    since: float | None = None
    also: dict[str, object] = field(default_factory=dict)


ROWS = {
    "nothing is known": Row((), "starting", since=100.0),
    "launched": Row((LAUNCHED,), "starting", since=0.0, also={"pid": 7, "session_id": "s1"}),
    "SessionStart comes before the input box": Row((LAUNCHED, hook(0.5, "SessionStart", source="startup")), "starting"),
    "the file says that the box is there": Row((LAUNCHED, READY), "idle", now=1.0, since=1.0),
    "a start with a prompt is not idle in between": Row((PROMPTED, READY), "starting", now=1.5),
    "unless nothing comes of it": Row((PROMPTED, READY), "idle", since=1.0),
    "a start with a prompt goes to work": Row((PROMPTED, READY, SUBMIT), "working", now=2.0, since=2.0),
    "a dialog at the start": Row((LAUNCHED, FileStatus(1.0, "waiting", "dialog open")), "waiting", now=1.0),
    "a prompt": Row((LAUNCHED, READY, SUBMIT), "working", now=2.0, since=2.0),
    "a prompt that only the file saw": Row((LAUNCHED, READY, BUSY), "working", since=2.1),
    "the file is believed only after a while": Row((LAUNCHED, READY, BUSY), "idle", now=2.1 + PATIENCE / 2),
    "a tool runs": Row((*WORKING, BASH), "working", now=3.0, since=2.0, also={"tool": "Bash"}),
    "a tool is done": Row((*WORKING, BASH, BASH_DONE), "working", now=4.0, also={"tool": None, "calls": ()}),
    "a tool failed": Row((*WORKING, BASH, hook(4.0, "PostToolUseFailure", call="c1")), "working", also={"calls": ()}),
    "one of two tools is done": Row(
        (*WORKING, BASH, hook(3.0, "PreToolUse", tool="Grep", call="c2"), hook(3.5, "PostToolUse", call="c2")),
        "working",
        now=3.5,
        also={"tool": "Bash"},
    ),
    "a permission is asked for": Row(
        WAITING, "waiting", since=3.1, also={"waiting_for": "permission prompt", "tool": "Bash", "takes_answer": False}
    ),
    "a permission that only the file saw": Row((*WORKING, BASH, ASKED), "waiting", since=3.1),
    "a permission that only the late notice told": Row(
        (*WORKING, BASH, hook(9.0, "Notification", notification="permission_prompt")),
        "waiting",
        now=9.5,
        also={"waiting_for": "permission prompt", "tool": "Bash"},
    ),
    "a permission was given": Row((*WAITING, FileStatus(3.9, "working"), BASH_DONE), "working", since=4.0),
    "a permission was refused: no hook tells": Row((*WAITING, FileStatus(6.0, "idle")), "idle", since=6.0),
    "a refusal takes a moment to be believed": Row((*WAITING, FileStatus(6.0, "idle")), "waiting", now=6.5),
    "a turn was interrupted: no hook tells": Row((*WORKING, BASH, FileStatus(4.0, "idle")), "idle", also={"calls": ()}),
    "another agent's tool ends while one asks": Row(
        (*WAITING, hook(3.5, "PostToolUse", agent="a1", tool="Grep", call="x")), "waiting", now=3.6
    ),
    "another agent's tool begins while one asks": Row(
        (*WAITING, hook(3.5, "PreToolUse", agent="a1", tool="Grep", call="x")), "waiting", now=3.6
    ),
    "another tool of the same agent ends while one asks": Row(
        (*WAITING, hook(3.5, "PostToolUse", tool="Grep", call="x")), "waiting", now=3.6
    ),
    "a sub-agent asks": Row(
        (*WORKING, hook(3.0, "PermissionRequest", agent="a1", tool="Bash"), ASKED), "waiting", also={"tool": "Bash"}
    ),
    "a question is asked": Row(
        (*WORKING, QUESTION, FileStatus(3.2, "waiting", "input needed")),
        "waiting",
        also={"waiting_for": "input needed", "takes_answer": True},
    ),
    "several questions cannot be answered by typing": Row(
        (*WORKING, hook(3.1, "PermissionRequest", tool="AskUserQuestion")),
        "waiting",
        now=3.2,
        also={"takes_answer": False},
    ),
    "auto mode has no server to ask": Row(
        (*WORKING, hook(4.0, "Notification", notification="agent_needs_input")),
        "waiting",
        now=4.0,
        also={"waiting_for": "dialog open"},
    ),
    "nothing was asked of an idle Claude for a minute": Row(
        (LAUNCHED, READY, hook(61.0, "Notification", notification="idle_prompt")), "idle", since=1.0
    ),
    "the turn is over": Row((*WORKING, STOP), "idle", now=5.0, since=5.0, also={"tool": None, "takes_prompt": False}),
    "the turn is over, and Claude is done with its hook": Row(
        (*WORKING, STOP, FileStatus(5.1, "idle")), "idle", now=5.1, since=5.0, also={"takes_prompt": True}
    ),
    "the turn is over, a sub-agent goes on": Row(
        (*WORKING, hook(5.0, "Stop", agents_run=True)), "working", also={"takes_prompt": False}
    ),
    "the sub-agent is done": Row((*WORKING, hook(5.0, "Stop", agents_run=True), FileStatus(9.0, "idle")), "idle"),
    "the turn failed": Row(
        (*WORKING, hook(5.0, "StopFailure", trouble="rate_limit: come back at 5pm")),
        "idle",
        now=5.0,
        also={"detail": "the last turn failed: rate_limit: come back at 5pm"},
    ),
    "the next prompt forgets the failure": Row(
        (*WORKING, hook(5.0, "StopFailure"), hook(6.0, "UserPromptSubmit")), "working", now=6.0, also={"detail": None}
    ),
    "a cleared conversation has a new id": Row(
        (*WORKING, STOP, FileStatus(5.1, "idle"), *CLEARED),
        "idle",
        also={"session_id": "s2", "takes_prompt": True},
    ),
    "Claude says goodbye": Row(
        (LAUNCHED, READY, hook(6.0, "SessionEnd", reason="other")), "idle", also={"takes_prompt": False}
    ),
    "Claude exits": Row((*WORKING, Died(9.0, 0, None)), "exited", since=9.0, also={"exit_status": 0, "tool": None}),
    "Claude is killed": Row((*WAITING, Died(9.0, None, 9)), "exited", also={"exit_signal": 9, "waiting_for": None}),
    "nothing comes after death": Row((*WORKING, Died(9.0, 1, None), SUBMIT, BUSY, READY), "exited", since=9.0),
    "hooks of another time change nothing": Row((LAUNCHED, READY, hook(2.0, "WorktreeCreate")), "idle", since=1.0),
    "the newest word of the file counts": Row(
        (*WORKING, FileStatus(3.0, "idle"), FileStatus(3.2, "working")), "working", since=2.0
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_rule(row: Row) -> None:
    session = derive(row.facts, now=row.now)
    assert session.state == row.state
    if row.since is not None:
        assert session.since == row.since
    for name, value in row.also.items():
        assert getattr(session, name) == value, name


@pytest.mark.parametrize(
    ("facts", "ahead"),
    [
        ((LAUNCHED,), True),
        ((LAUNCHED, READY), False),
        (WORKING, False),
        ((*WORKING, BASH), True),
        ((*WORKING, BASH, BASH_DONE), False),
        (WAITING, True),
        ((*WAITING, Died(9.0, 0, None)), True),
    ],
)
def test_where_a_dialog_may_be_met(facts: tuple[Fact, ...], ahead: bool) -> None:  # noqa: FBT001 - a column
    assert derive(facts, now=100.0).has_dialog_ahead is ahead


def test_a_client_without_a_session_file_is_ready_a_while_after_its_start() -> None:
    session = derive((LAUNCHED,), now=0.0)
    assert without_file(session, None, 100.0).state == "starting"
    assert without_file(session, 10.0, 10.0 + PATIENCE).state == "starting"
    assert without_file(session, 10.0, 10.0 + 3 * PATIENCE).state == "idle"


HOOKS = ["SessionStart", "UserPromptSubmit", "PreToolUse", "PermissionRequest", "PostToolUse", "Stop", "StopFailure"]
FACTS = st.one_of(
    st.builds(Hook, st.just(0.0), st.sampled_from(HOOKS), agents_run=st.booleans(), tool=st.just("Bash")),
    st.builds(FileStatus, st.just(0.0), st.sampled_from(["idle", "working"])),
    st.builds(FileStatus, st.just(0.0), st.just("waiting"), st.just("input needed")),
)


@settings(deadline=None)
@given(st.lists(FACTS, max_size=12), st.sampled_from(["idle", "working", "waiting"]))
def test_the_file_is_right_in_the_end(history: list[Fact], said: str) -> None:
    session = Session("starting", 0.0)
    for second, fact in enumerate(history):
        moved = Hook(float(second), fact.name) if isinstance(fact, Hook) else FileStatus(float(second), "idle")
        session = apply(session, moved)
    session = apply(session, FileStatus(50.0, said))  # type: ignore[arg-type]  # one of the three
    assert settle(session, 60.0).state == said


@settings(deadline=None)
@given(st.lists(FACTS, max_size=12))
def test_death_is_final(history: list[Fact]) -> None:
    session = apply(Session("starting", 0.0), Died(1.0, 0, None))
    for fact in history:
        session = settle(apply(session, fact), 99.0)
    assert (session.state, session.since) == ("exited", 1.0)


@settings(deadline=None)
@given(st.lists(FACTS, max_size=12))
def test_what_is_waited_for_is_told_while_waiting_and_only_then(history: list[Fact]) -> None:
    session = Session("starting", 0.0)
    for fact in history:
        session = settle(apply(session, fact), 99.0)
        assert (session.waiting_for is not None) == (session.state == "waiting")
