from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controller.resources import ConditionStatus, Instance, set_condition
from controller.resources.explain import cause, explain

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
Row = tuple[str, ConditionStatus, str, str]


def instance(*rows: Row, session: dict[str, Any] | None = None, deleting: bool = False, **status: object) -> Instance:
    """An instance with the given conditions, generation 1."""
    base = Instance.model_validate(
        {
            "metadata": {
                "name": "web",
                "uid": "3f2c",
                "created_at": NOW,
                "deletion_requested_at": NOW if deleting else None,
            },
            "spec": {"repository": "shop", "branch": "feature/login"},
            "status": {"session": {"since": NOW, **session} if session else None, **status},
        }
    )
    conditions: tuple[Any, ...] = ()
    for type_, truth, reason, message in rows:
        conditions = set_condition(conditions, type_, truth, reason, message, generation=1, now=NOW)
    return base.model_copy(update={"status": base.status.model_copy(update={"conditions": conditions})})


READY: Row = ("Ready", TRUE, "Ready", "")

CASES: dict[str, tuple[Instance, tuple[str, ...]]] = {
    "nothing seen yet": (instance(), ("not looked at it yet", "cco status")),
    "working, with its tool": (
        instance(READY, session={"state": "working", "tool": "Bash"}),
        ("web is working (Bash) since 2026-11-20 09:30:00 UTC", "nothing has to be done"),
    ),
    "blocked on a permission": (
        instance(READY, session={"state": "waiting", "waiting_for": "permission prompt", "tool": "Bash"}),
        ("waits (permission prompt, Bash) since", "cco instance attach web"),
    ),
    "asked a question": (
        instance(READY, session={"state": "waiting", "waiting_for": "input needed"}),
        ("waits for an answer", "cco instance send web TEXT"),
    ),
    "idle": (instance(READY, session={"state": "idle"}), ("idle since", "cco instance send web TEXT")),
    "idle after a failed turn": (
        instance(READY, session={"state": "idle", "detail": "the last turn failed: rate_limit: at 5pm."}),
        ("idle since", "and the last turn failed: rate_limit: at 5pm: see 'cco instance attach web'"),
    ),
    "idle because its credentials are refused": (
        instance(READY, session={"state": "idle", "detail": "the last turn failed: authentication_failed: invalid"}),
        ("authentication_failed: invalid: give the controller valid credentials", "cco instance restart web"),
    ),
    "claude starting": (
        instance(READY, session={"state": "starting", "detail": "waiting for credentials"}),
        ("Claude is starting (waiting for credentials)",),
    ),
    "claude exited, not yet decided": (
        instance(READY, session={"state": "exited", "detail": "status 1"}),
        ("Claude has ended (status 1)",),
    ),
    "ready without a session": (instance(READY), ("web is ready.",)),
    "up, although": (
        instance(("Ready", TRUE, "Diverged", "both lines are kept; merge them"), session={"state": "idle"}),
        ("idle since", "But: Diverged: both lines are kept; merge them."),
    ),
    "suspended": (instance(("Ready", FALSE, "Suspended", "")), ("suspended, as its spec asks", "resume web")),
    "stopped": (instance(("Ready", FALSE, "Stopped", "")), ("stopped, as its spec asks", "start web")),
    "completed": (
        instance(("Ready", FALSE, "Completed", "Claude ended with status 0")),
        ("web has ended: Claude ended with status 0.", "restart web"),
    ),
    "making the worktree": (
        instance(
            ("WorkspaceReady", FALSE, "CreatingWorkspace", "adding the worktree"),
            ("Ready", FALSE, "CreatingWorkspace", ""),
        ),
        ("on its way (CreatingWorkspace)", "adding the worktree"),
    ),
    "backing off": (
        instance(
            ("Ready", FALSE, "BackingOff", ""),
            failures={"count": 3, "retry_at": NOW, "message": "Claude ended with status 1"},
        ),
        ("failed 3 times in a row", "next start at 2026-11-20 09:30:00 UTC", "Claude ended with status 1."),
    ),
    "backing off, told by the last exit": (
        instance(
            ("Ready", FALSE, "BackingOff", ""),
            failures={"count": 1},
            last_exit={"workload_id": "x", "finished_at": NOW, "exit_code": 137, "reason": "OOMKilled"},
        ),
        ("failed 1 time in a row", "with status 137 (OOMKilled)"),
    ),
    "terminal: the first unmet condition is the cause": (
        instance(
            ("WorkspaceReady", FALSE, "BaseBranchNotFound", "spec.base_branch: no 'mian'; did you mean 'main'?"),
            ("WorkloadRunning", FALSE, "WaitingForWorkspace", "the workspace is missing"),
            ("Ready", FALSE, "BaseBranchNotFound", ""),
        ),
        ("not ready (BaseBranchNotFound)", "did you mean 'main'?", "cco retry web"),
    ),
    "terminal, the message names the command itself": (
        instance(("Ready", FALSE, "CrashLoop", "it failed 5 times; read the logs, then 'cco instance restart web'")),
        ("(CrashLoop): it failed 5 times; read the logs, then 'cco instance restart web'.",),
    ),
    "the sum's own words come before those of a part": (
        instance(
            ("WorkloadRunning", FALSE, "Absent", "there is no container"),
            ("Ready", FALSE, "CredentialsMissing", "set ANTHROPIC_API_KEY and run 'make up' again"),
        ),
        ("(CredentialsMissing): set ANTHROPIC_API_KEY",),
    ),
    "terminal without any message": (
        instance(("WorkloadRunning", FALSE, "ImageNotFound", ""), ("Ready", FALSE, "ImageNotFound", "")),
        ("WorkloadRunning is False (ImageNotFound)",),
    ),
    "a look failed": (
        instance(
            ("WorkloadRunning", UNKNOWN, "EngineUnreachable", "the Docker engine does not answer"),
            ("Ready", UNKNOWN, "EngineUnreachable", ""),
        ),
        ("not known how web is (EngineUnreachable)", "the Docker engine does not answer."),
    ),
    "being deleted": (
        instance(("Ready", FALSE, "Deleting", ""), deleting=True),
        ("is being deleted since", "feature/login", "snapshot"),
    ),
    "a delete that is blocked": (
        instance(
            ("WorkspaceReady", TRUE, "Ready", ""),
            ("Ready", FALSE, "UnsavedWork", "the disk is full: free some space"),
            deleting=True,
        ),
        ("cannot be yet (UnsavedWork)", "the disk is full: free some space."),
    ),
}


@pytest.mark.parametrize(("subject", "phrases"), CASES.values(), ids=CASES.keys())
def test_explains(subject: Instance, phrases: tuple[str, ...]) -> None:
    sentence = explain(subject)
    for phrase in phrases:
        assert phrase in sentence
    assert "\n" not in sentence
    assert "  " not in sentence
    assert sentence.endswith((".", "?"))


def test_a_newer_generation_is_said_first() -> None:
    subject = instance(READY, session={"state": "idle"})
    changed = subject.model_copy(update={"metadata": subject.metadata.model_copy(update={"generation": 2})})
    assert "generation 2" in explain(changed)
    assert "acted on generation 1" in explain(changed)


def test_an_advice_is_given_once() -> None:
    subject, _ = CASES["terminal, the message names the command itself"]
    assert explain(subject).count("restart web") == 1


def test_cause_is_none_when_all_is_well() -> None:
    assert cause(instance(READY)) is None


def test_messages_with_line_breaks_become_one_line() -> None:
    subject = instance(("Ready", FALSE, "ImageNotFound", "no such image\nbuild it with 'make images'\n"))
    assert "no such image build it with 'make images'." in explain(subject)


PAGE = (Path(__file__).parents[3] / "docs/reference/conditions.md").read_text(encoding="utf-8")
REASONS = sorted(
    set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE[PAGE.index("## Reasons on the way") : PAGE.index("## Answers about")]))
)
BY_ITSELF = {"Ready", "Suspended", "Stopped"}
"""What says everything, because the spec asks for it."""


@pytest.mark.parametrize("truth", ConditionStatus)
@pytest.mark.parametrize("reason", [each for each in REASONS if each not in BY_ITSELF])
def test_whatever_the_reason_its_own_words_are_passed_on(reason: str, truth: ConditionStatus) -> None:
    subject = instance(("Ready", truth, reason, "do this: 'cco x'"), session={"state": "idle"})
    assert "do this: 'cco x'." in explain(subject)
