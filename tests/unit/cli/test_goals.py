from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from controller.resources import Instance, Repository
from ui.cli.goals import Outcome, outcome, parse_duration, parse_goal, repository_outcome
from ui.cli.steps import StepState, steps

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def an_instance(
    *conditions: tuple[str, str, str],
    generation: int = 1,
    observed: int | None = None,
    spec: dict[str, object] | None = None,
    deleting: bool = False,
    **status: object,
) -> Instance:
    return Instance.model_validate(
        {
            "metadata": {
                "name": "web",
                "uid": "1",
                "created_at": NOW,
                "generation": generation,
                "deletion_requested_at": NOW if deleting else None,
            },
            "spec": {"repository": "shop", **(spec or {})},
            "status": {
                "conditions": [
                    {
                        "type": type_,
                        "status": truth,
                        "reason": reason,
                        "message": f"about {reason}",
                        "last_transition_at": NOW,
                        "observed_generation": generation if observed is None else observed,
                    }
                    for type_, truth, reason in conditions
                ],
                **status,
            },
        }
    )


READY = ("Ready", "True", "Ready")
IDLE = {"state": "idle", "since": NOW}


@pytest.mark.parametrize(
    ("goal", "subject", "met"),
    [
        ("condition=Ready", an_instance(READY), True),
        ("condition=ready", an_instance(READY), True),
        ("condition=suspended", an_instance(("Suspended", "True", "Suspended")), True),
        ("condition=Ready=False", an_instance(READY), False),
        ("condition=Ready=unknown", an_instance(("Ready", "Unknown", "EngineUnreachable")), True),
        ("condition=Ready", an_instance(READY, generation=2, observed=1), False),
        ("condition=Ready", an_instance(), False),
        ("condition=Ready", None, False),
        ("state=IDLE", an_instance(READY, session=IDLE), True),
        ("state=idle", an_instance(READY, session=IDLE), True),
        ("state=IDLE", an_instance(READY, session=IDLE, generation=2, observed=1), False),
        ("state=ERROR", an_instance(("Ready", "False", "CrashLoop")), True),
        ("state=DELETING", an_instance(deleting=True), True),
        ("delete", None, True),
        ("delete", an_instance(), False),
    ],
)
def test_goals(goal: str, subject: Instance | None, met: bool) -> None:  # noqa: FBT001  # a column of the table
    assert parse_goal(goal).met(subject) is met


@pytest.mark.parametrize(
    "text", ["", "ready", "delete=x", "condition=", "condition=Bogus", "state=SLEEPING", "condition=Ready=maybe"]
)
def test_a_wrong_goal_says_what_is_right(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write"):
        parse_goal(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("5m", 300), ("1h30m", 5400), ("2h0m5s", 7205), ("0", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5d", "m"])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(text)


AGAIN: dict[str, object] = {"restart_generation": 2}
SUSPENDED: dict[str, object] = {"operating_mode": "Suspended"}

OUTCOMES: dict[str, tuple[Instance, Outcome | None]] = {
    "nothing seen": (an_instance(), None),
    "ready": (an_instance(READY), Outcome()),
    "ready, but for an older spec": (an_instance(READY, generation=2, observed=1), None),
    "ready, but the restart is not done": (
        an_instance(READY, spec={"restart_generation": 2}, restarted_generation=1),
        None,
    ),
    "ready after the restart": (an_instance(READY, spec=AGAIN, restarted_generation=2), Outcome()),
    "still running although it should stop": (an_instance(READY, spec={"operating_mode": "Stopped"}), None),
    "stopped as wished": (an_instance(("Ready", "False", "Stopped"), spec={"operating_mode": "Stopped"}), Outcome()),
    "suspended as wished": (
        an_instance(("Ready", "False", "Suspended"), spec=SUSPENDED),
        Outcome(),
    ),
    "still stopped although it should run": (an_instance(("Ready", "False", "Stopped")), None),
    "on its way": (an_instance(("Ready", "False", "CreatingWorkspace")), None),
    "backing off": (an_instance(("Ready", "False", "BackingOff")), None),
    "nobody knows": (an_instance(("Ready", "Unknown", "EngineUnreachable")), None),
    "terminal": (an_instance(("Ready", "False", "ImageNotFound")), Outcome("about ImageNotFound", "ImageNotFound")),
    "terminal, told by its cause": (
        an_instance(("WorkspaceReady", "False", "EmptyRepository"), ("Ready", "False", "EmptyRepository")),
        Outcome("about EmptyRepository", "EmptyRepository"),
    ),
    "ended by itself": (an_instance(("Ready", "False", "Completed")), Outcome("about Completed", "Completed")),
    "deleted meanwhile": (an_instance(READY, deleting=True), Outcome("it is being deleted", "Deleting")),
}


@pytest.mark.parametrize(("subject", "expected"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_outcome(subject: Instance, expected: Outcome | None) -> None:
    assert outcome(subject) == expected


@pytest.mark.parametrize(
    ("truth", "reason", "expected"),
    [
        (None, "", None),
        ("Unknown", "Unreadable", None),
        ("True", "Ready", Outcome()),
        ("False", "EmptyRepository", Outcome("commit something first", "EmptyRepository")),
    ],
)
def test_repository_outcome(truth: str | None, reason: str, expected: Outcome | None) -> None:
    condition = {
        "type": "Ready",
        "status": truth,
        "reason": reason,
        "message": "commit something first",
        "last_transition_at": NOW,
        "observed_generation": 1,
    }
    repository = Repository.model_validate(
        {
            "metadata": {"name": "shop", "uid": "1", "created_at": NOW},
            "spec": {"path": "/srv/shop"},
            "status": {"conditions": [condition] if truth else []},
        }
    )
    assert repository_outcome(repository) == expected


def test_steps_before_the_controller_looked() -> None:
    assert [step.state for step in steps(an_instance(), NOW)] == [StepState.ACTIVE, *[StepState.WAITING] * 3]
    assert steps(an_instance(), NOW)[0].detail == "waiting for the controller"


def test_steps_on_the_way_have_one_active() -> None:
    subject = an_instance(
        ("WorkspaceReady", "True", "Ready"),
        ("WorkloadRunning", "False", "StartingWorkload"),
        ("Ready", "False", "StartingWorkload"),
        workspace={"path": "/srv/shop.worktrees/web", "git_dir": "/x", "branch": "web"},
    )
    assert [(step.state, step.detail) for step in steps(subject, NOW)] == [
        (StepState.DONE, "/srv/shop.worktrees/web on branch web"),
        (StepState.ACTIVE, "about StartingWorkload"),
        (StepState.WAITING, ""),
        (StepState.WAITING, ""),
    ]


def test_steps_of_a_failure_name_it_where_it_happened() -> None:
    subject = an_instance(
        ("WorkspaceReady", "True", "Ready"),
        ("WorkloadRunning", "False", "ImageNotFound"),
        ("Ready", "False", "ImageNotFound"),
    )
    assert [step.state for step in steps(subject, NOW)][:2] == [StepState.DONE, StepState.FAILED]
    assert steps(subject, NOW)[1].detail == "ImageNotFound: about ImageNotFound"


def test_steps_of_a_ready_one_are_done() -> None:
    subject = an_instance(
        ("WorkspaceReady", "True", "Ready"),
        ("WorkloadRunning", "True", "Running"),
        ("SessionReady", "True", "Ready"),
        READY,
        session=IDLE,
        workload={"name": "cco-web-1", "id": "x", "attempt": 1, "state": "running"},
    )
    assert {step.state for step in steps(subject, NOW)} == {StepState.DONE}
    assert [step.detail for step in steps(subject, NOW)] == [
        "",
        "cco-web-1",
        "Claude Code is running",
        "Claude is idle",
    ]


def test_steps_while_backing_off_tell_the_failure() -> None:
    subject = an_instance(
        ("WorkspaceReady", "True", "Ready"),
        ("WorkloadRunning", "False", "BackingOff"),
        ("Ready", "False", "BackingOff"),
        failures={"count": 2, "message": "it ended with status 1", "retry_at": NOW},
    )
    before, after = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
    assert steps(subject, before)[1].detail == "failed 2x: it ended with status 1, next start at 09:30:00 UTC"
    assert steps(subject, after)[1].detail == "about BackingOff (failed 2x before)", "no start in the past is promised"
