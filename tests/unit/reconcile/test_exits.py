"""The accounting of exits: what an end is called, that it is counted once, and when it is forgiven."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from controller.agents import Heard
from controller.reconcile.exits import (
    HEALTHY_AFTER,
    MAX_FAILURES,
    account,
    count_failure,
    delay_after,
    describe_exit,
    is_final,
)
from controller.resources import InstanceStatus, LastExit
from controller.resources.observed import FailureRecord
from controller.runtime.protocol import Workload, WorkloadState
from support.looks import NOW, STARTED, ago, exited, healthy_status, heard, instance, workload


def test_the_first_failure_waits_for_nothing_and_the_next_ones_ever_longer() -> None:
    assert [delay_after(failures) for failures in range(9)] == [0, 0, 10, 20, 40, 80, 160, 300, 300]


def test_giving_up_takes_minutes_and_not_hours() -> None:
    assert sum(delay_after(failures) for failures in range(MAX_FAILURES)) == 150.0


def test_a_failure_is_counted_with_its_time_and_its_reason() -> None:
    record = count_failure(FailureRecord(count=1), "Killed", "it was killed", NOW)
    assert record == FailureRecord(
        count=2, last_at=NOW, retry_at=NOW + timedelta(seconds=10), reason="Killed", message="it was killed"
    )


ENDS: dict[str, tuple[Workload, Heard | None, str, str]] = {
    "by itself": (exited(0), None, "Exited", "ended by itself"),
    "with an error": (exited(3), None, "ExitedWithError", "exit code 3"),
    "with the engine": (exited(255), None, "ExitedWithError", "the machine or the engine went down"),
    "with an error, in the agent's words": (
        exited(3),
        heard("exited", session={"detail": "Claude Code refuses to run as root"}),
        "ExitedWithError",
        "refuses to run as root",
    ),
    "with an error the agent has no words for": (exited(3), heard("exited"), "ExitedWithError", "exit code 3"),
    "with an error, while the agent spoke of something else": (
        exited(3),
        heard("working", session={"detail": "thinking"}),
        "ExitedWithError",
        "exit code 3",
    ),
    "killed, whatever the agent said": (
        exited(137),
        heard("exited", session={"detail": "status 137"}),
        "Killed",
        "signal 9",
    ),
    "without a code": (exited(None), None, "ExitedWithError", "None"),
    "killed": (exited(137), None, "Killed", "signal 9"),
    "killed, and the agent never saw a want of memory": (exited(137), heard(), "Killed", "signal 9"),
    "killed after the agent saw a want of memory": (
        exited(137),
        heard(usage={"oom_kills": 1}),
        "OOMKilled",
        "spec.resources.memory",
    ),
    "ended by itself long after a want of memory": (exited(0), heard(usage={"oom_kills": 1}), "Exited", "by itself"),
    "with its first process out of memory": (exited(137, oom_killed=True), None, "OOMKilled", "2048 MiB allowed"),
    "before it began": (exited(127, error="no such program: claude"), None, "StartFailed", "no such program"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_session_that_ended(name: str) -> None:
    seen, told, reason, words = ENDS[name]
    last = describe_exit(seen, told)
    assert (last.reason, last.workload_id, last.exit_code) == (reason, seen.id, seen.exit_code)
    assert words in last.message


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"finished_at": NOW, "started_at": STARTED}, NOW),
        ({"finished_at": None, "started_at": STARTED}, STARTED),
        ({"finished_at": None, "started_at": None}, ago(seconds=NOW.timestamp())),
    ],
    ids=["known", "only its start is known", "never started"],
)
def test_the_time_of_an_exit_identifies_it_even_when_it_is(times: dict[str, object], expected: object) -> None:
    assert describe_exit(workload(WorkloadState.EXITED, **times), None).finished_at == expected


# account -------------------------------------------------------------------------------------------------------

BAD = describe_exit(exited(1), None)
THREE = FailureRecord(count=3, last_at=STARTED, retry_at=STARTED, reason="Killed", message="it was killed")
LONG_AGO = ago(minutes=11)


def test_a_new_exit_is_recorded_and_counted() -> None:
    status = account(instance(), exited(1), None, NOW)
    assert status.last_exit == BAD
    assert (status.failures.count, status.failures.reason) == (1, "ExitedWithError")


def test_the_same_exit_is_counted_once() -> None:
    seen = account(instance(), exited(1), None, NOW)
    assert account(instance(status=seen), exited(1), None, NOW + timedelta(seconds=9)) == seen


@pytest.mark.parametrize("another", [{"finished_at": NOW}, {"id": "another"}], ids=["time", "container"])
def test_it_is_another_exit_by_its(another: dict[str, object]) -> None:
    seen = account(instance(), exited(1), None, NOW)
    again = workload(WorkloadState.EXITED, exit_code=1, **{"finished_at": ago(seconds=1), **another})
    assert account(instance(status=seen), again, None, NOW).failures.count == 2


def ready_since(since: datetime, *, status: str = "True", reason: str = "Ready", **changes: object) -> InstanceStatus:
    """Return the status of an instance whose ``Ready`` is what it is since then."""
    ready = {"type": "Ready", "status": status, "reason": reason, "last_transition_at": since, "observed_generation": 3}
    return healthy_status(conditions=[ready], **changes)


QUIET: dict[str, Workload | None] = {
    "no container": None,
    "a container that was never started": workload(WorkloadState.CREATED, started_at=None),
    "a container that runs": workload(),
    "a paused container": workload(WorkloadState.PAUSED, started_at=LONG_AGO),
    "a container that runs since nobody knows when": workload(started_at=None),
}


@pytest.mark.parametrize("name", QUIET)
def test_nothing_is_counted_or_forgiven_for(name: str) -> None:
    before = healthy_status(failures=THREE, last_exit=BAD)
    assert account(instance(status=before), QUIET[name], None, NOW) == before


@pytest.mark.parametrize(
    ("began", "count"),
    [(NOW - HEALTHY_AFTER, 0), (NOW - HEALTHY_AFTER + timedelta(seconds=1), 3)],
    ids=["ten minutes", "a second less"],
)
def test_a_healthy_run_forgives_after(began: object, count: int) -> None:
    status = account(instance(status=ready_since(LONG_AGO, failures=THREE)), workload(started_at=began), None, NOW)
    assert status.failures.count == count


@pytest.mark.parametrize(
    ("since", "count"),
    [(NOW - HEALTHY_AFTER, 0), (NOW - HEALTHY_AFTER + timedelta(seconds=1), 3)],
    ids=["ten minutes", "a second less"],
)
def test_the_time_before_it_was_ready_does_not_count(since: datetime, count: int) -> None:
    status = account(instance(status=ready_since(since, failures=THREE)), workload(started_at=LONG_AGO), None, NOW)
    assert status.failures.count == count


def test_a_container_that_runs_for_long_without_a_session_is_not_forgiven() -> None:
    """It is the agent that waits, or an image without one: forgiven, it would be restarted for ever."""
    for conditions in ((), ready_since(LONG_AGO, status="False", reason="CrashLoop").conditions):
        before = healthy_status(failures=THREE, conditions=conditions)
        assert account(instance(status=before), workload(started_at=LONG_AGO), None, NOW) is before
        ended = account(instance(status=before), exited(1, started_at=LONG_AGO), None, NOW)
        assert ended.failures.count == 4


def test_a_healthy_run_without_failures_changes_nothing() -> None:
    before = healthy_status()
    assert account(instance(status=before), workload(started_at=LONG_AGO), None, NOW) is before


@pytest.mark.parametrize(
    ("began", "count"), [(LONG_AGO, 1), (ago(seconds=1) - HEALTHY_AFTER, 1), (STARTED, 4), (None, 4)]
)
def test_an_exit_after_a_long_run_is_the_first_failure_again(began: object, count: int) -> None:
    status = account(instance(status=ready_since(LONG_AGO, failures=THREE)), exited(1, started_at=began), None, NOW)
    assert status.failures.count == count


NO_FAILURE: dict[str, tuple[dict[str, Any], int]] = {
    "the instance was suspended": ({"operating_mode": "Suspended"}, 143),
    "the instance was stopped": ({"operating_mode": "Stopped"}, 137),
    "it was never to start again": ({"restart_policy": "Never"}, 1),
    "it ended well and restarts on failure": ({"restart_policy": "OnFailure"}, 0),
}


@pytest.mark.parametrize("name", NO_FAILURE)
def test_an_exit_is_recorded_and_is_no_failure_when(name: str) -> None:
    spec, code = NO_FAILURE[name]
    status = account(instance(**spec), exited(code), None, NOW)
    assert status.last_exit is not None
    assert status.failures.count == 0


@pytest.mark.parametrize(
    ("policy", "code", "final"),
    [
        ("Always", 0, False),
        ("Always", 1, False),
        ("OnFailure", 0, True),
        ("OnFailure", 1, False),
        ("OnFailure", None, False),
        ("Never", 0, True),
        ("Never", 1, True),
    ],
)
def test_the_policy_decides_whether_an_end_is_final(policy: str, code: int | None, final: bool) -> None:  # noqa: FBT001  # a column
    last = LastExit(workload_id="c0ffee", finished_at=NOW, exit_code=code)
    assert is_final(instance(restart_policy=policy), last) is final


def test_an_end_is_counted_when_it_is_known_how_it_came() -> None:
    """While the runtime still clears up, neither time nor exit code are known; the next look has them."""
    before = instance(status=healthy_status())
    assert account(before, workload(WorkloadState.EXITED, ending=True), None, NOW) == before.status
