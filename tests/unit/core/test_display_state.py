"""The one word people see, as a table over what is reported, and the rule for a condition's time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.reconcile.conditions import compute_conditions
from controller.resources import (
    ConditionStatus,
    DisplayState,
    Instance,
    SessionState,
    display_state,
    find_condition,
    set_condition,
)
from controller.resources.instance import STOPPED_REASONS, TRANSITIONAL_REASONS
from controller.runtime.protocol import WorkloadState
from support.looks import NOW, PACE, STARTED, Look, exited, healthy_status, heard, instance, repository, workload

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def seen(
    status: ConditionStatus | None, reason: str = "Ready", *, deleting: bool = False, session: object = None
) -> Instance:
    """Return an instance of which that is reported; ``None``: nothing was ever reported."""
    conditions = () if status is None else set_condition((), "Ready", status, reason, generation=1, now=NOW)
    return instance(deleting, healthy_status(conditions=conditions, session=session))


def session(state: str, **more: object) -> dict[str, object]:
    return {"state": state, "since": STARTED, **more}


TABLE: dict[str, tuple[Instance, DisplayState, str]] = {
    "nobody has looked at": (seen(None), DisplayState.STARTING, "Pending"),
    "is idle": (seen(TRUE, session=session("idle")), DisplayState.IDLE, "Ready"),
    "works": (seen(TRUE, session=session("working")), DisplayState.RUNNING, "Ready"),
    "waits for a permission": (
        seen(TRUE, session=session("waiting", waiting_for="permission prompt")),
        DisplayState.WAITING,
        "permission prompt",
    ),
    "waits and does not say for what": (seen(TRUE, session=session("waiting")), DisplayState.WAITING, "Ready"),
    "works and has diverged": (
        seen(TRUE, "Diverged", session=session("working")),
        DisplayState.RUNNING,
        "Diverged",
    ),
    "is ready and has a session that starts": (
        seen(TRUE, session=session("starting")),
        DisplayState.STARTING,
        "Ready",
    ),
    "is ready and has a session nobody has a word for": (
        seen(TRUE, session=session("exited")),
        DisplayState.RUNNING,
        "Ready",
    ),
    "is ready and has no session": (seen(TRUE), DisplayState.RUNNING, "Ready"),
    "could not be looked at": (
        seen(UNKNOWN, "RuntimeUnavailable", session=session("idle")),
        DisplayState.UNKNOWN,
        "RuntimeUnavailable",
    ),
    "has failed": (seen(FALSE, "ImageNotFound"), DisplayState.ERROR, "ImageNotFound"),
    "has failed while its session is known": (
        seen(FALSE, "NoSignal", session=session("working")),
        DisplayState.ERROR,
        "NoSignal",
    ),
    "is to go and nobody has looked at": (seen(None, deleting=True), DisplayState.DELETING, "Deleting"),
    "is to go": (seen(FALSE, "Deleting", deleting=True), DisplayState.DELETING, "Deleting"),
    "is to go and cannot": (seen(FALSE, "SnapshotFailed", deleting=True), DisplayState.DELETING, "SnapshotFailed"),
    **{f"is {reason}": (seen(FALSE, reason), DisplayState.STOPPED, reason) for reason in sorted(STOPPED_REASONS)},
    **{f"is {reason}": (seen(FALSE, reason), DisplayState.STARTING, reason) for reason in sorted(TRANSITIONAL_REASONS)},
}


@pytest.mark.parametrize("name", TABLE)
def test_the_word_for_an_instance_that(name: str) -> None:
    of, word, reason = TABLE[name]
    assert display_state(of) == (word, reason)


def test_no_reason_is_two_words() -> None:
    assert not STOPPED_REASONS & TRANSITIONAL_REASONS


@pytest.mark.parametrize("state", SessionState)
def test_every_session_has_a_word(state: SessionState) -> None:
    assert display_state(seen(TRUE, session=session(state)))[0] in DisplayState


BASE = Look()

WHOLE: dict[str, tuple[Look, DisplayState]] = {
    "was just declared": (
        BASE.but(repository=repository(None), workspace=None, workloads=(), heard=None),
        DisplayState.STARTING,
    ),
    "has no container yet": (BASE.but(workloads=(), heard=None), DisplayState.STARTING),
    "has a container that is about to start": (
        BASE.but(workloads=(workload(WorkloadState.CREATED),), heard=None),
        DisplayState.STARTING,
    ),
    "has not reported yet": (BASE.but(heard=None, listening_for=0.0), DisplayState.STARTING),
    "is about to be stopped": (BASE.but(instance=instance(operating_mode="Stopped")), DisplayState.STARTING),
    "is suspended": (
        BASE.but(instance=instance(operating_mode="Suspended"), workloads=(exited(143),), heard=None),
        DisplayState.STOPPED,
    ),
    "is silent": (BASE.but(heard=heard(age=60.0)), DisplayState.ERROR),
    "has two containers": (BASE.but(workloads=(workload(attempt=2), workload())), DisplayState.ERROR),
    "has nothing to log in with": (BASE.but(workloads=(), heard=None, credentials=False), DisplayState.ERROR),
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_word_after_a_look_at_an_instance_that(name: str) -> None:
    """The same, through the conditions: the two lists of reasons and the ones that are reported fit together."""
    look, word = WHOLE[name]
    conditions, _ = compute_conditions(look.instance, look.observed, look.plan(), None, PACE, now=NOW)
    status = look.instance.status.model_copy(update={"conditions": conditions})
    assert display_state(look.instance.model_copy(update={"status": status}))[0] is word


# Conditions -----------------------------------------------------------------------------------------------------


def test_a_condition_is_replaced_in_its_place_and_a_new_one_comes_last() -> None:
    conditions = set_condition((), "A", TRUE, "Fine", generation=1, now=STARTED)
    conditions = set_condition(conditions, "B", FALSE, "Broken", generation=1, now=STARTED)
    conditions = set_condition(conditions, "A", UNKNOWN, "Hidden", "look again", generation=2, now=NOW)
    assert [(c.type, c.status, c.reason, c.message, c.observed_generation) for c in conditions] == [
        ("A", UNKNOWN, "Hidden", "look again", 2),
        ("B", FALSE, "Broken", "", 1),
    ]
    assert find_condition(conditions, "C") is None


@pytest.mark.parametrize(
    ("status", "reason", "since"),
    [(TRUE, "Fine", STARTED), (TRUE, "Better", STARTED), (FALSE, "Fine", NOW), (UNKNOWN, "Fine", NOW)],
    ids=["nothing changed", "the reason changed", "the status changed", "nobody knows"],
)
def test_the_time_is_that_of_the_last_change_of_status(status: ConditionStatus, reason: str, since: object) -> None:
    before = set_condition((), "A", TRUE, "Fine", generation=1, now=STARTED)
    (after,) = set_condition(before, "A", status, reason, generation=2, now=NOW)
    assert after.last_transition_at == since
    (later,) = set_condition((after,), "A", status, reason, generation=2, now=NOW + timedelta(hours=1))
    assert later == after
