"""What is believed of a report: every field is bounded, what matters is told from what does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from controller.agents import AgentConfig, InputAcknowledgement, Report
from controller.resources import InputState, SessionState
from support.looks import NOW, STARTED, UID, instance, report, wanted


def body(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  # any field
    """Return a report as it comes over the wire."""
    message: dict[str, Any] = json.loads(report().model_dump_json(by_alias=True))
    for path, value in changes.items():
        *parents, field = path.split("__")
        place = message
        for parent in parents:
            place = place.setdefault(parent, {})
        place[field] = value
    return message


REFUSED: dict[str, dict[str, Any]] = {
    "another type": {"type": "input"},
    "another schema": {"schema": 2},
    "no uid": {"uid": None},
    "a uid without end": {"uid": "x" * 201},
    "a negative attempt": {"attempt": -1},
    "an attempt beyond every database": {"attempt": 2**63},
    "a state nobody knows": {"session__state": "dreaming"},
    "no time of its state": {"session__since": None},
    "a time that is none": {"sent_at": "yesterday"},
    "a detail without end": {"session__detail": "x" * 2001},
    "a tool without end": {"session__tool": "x" * 201},
    "negative memory": {"usage__memory_bytes": -1},
    "more processors than there are": {"usage__cpu_percent": 1e7},
    "processors that are no number": {"usage__cpu_percent": float("nan")},
    "more answers than it may keep": {"inputs": [{"id": "x", "state": "accepted", "at": "2026-01-01T00:00:00Z"}] * 201},
    "an answer nobody knows": {"inputs": [{"id": "x", "state": "maybe", "at": "2026-01-01T00:00:00Z"}]},
    "credentials themselves": {"credentials": "sk-ant-secret"},
    "refs without end": {"refs_version": "x" * 201},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_report_is_refused_with(name: str) -> None:
    with pytest.raises(ValidationError):
        Report.model_validate_json(json.dumps(body(**REFUSED[name])))


def test_many_mistakes_are_not_all_looked_for() -> None:
    with pytest.raises(ValidationError) as caught:
        Report.model_validate_json(json.dumps(body(inputs=[1] * 100_000)))
    assert caught.value.error_count() == 1, "each costs more than a whole report"


def test_the_least_report_is_enough() -> None:
    least = body()
    for field in ("tmux", "usage", "last_activity", "refs_version", "inputs", "credentials"):
        least.pop(field, None)
    least["session"] = {"state": "starting", "since": "2026-01-01T00:00:00Z"}
    seen = Report.model_validate_json(json.dumps(least))
    assert seen.credentials == "missing"
    assert seen.session_status().clients == 0
    assert seen.usage_status().memory_bytes == 0


def test_what_a_newer_agent_adds_is_ignored() -> None:
    newer = body(weather="fine", session__mood="curious", usage__disk_bytes=1)
    assert Report.model_validate_json(json.dumps(newer)) == report()


def test_times_are_in_utc_whatever_the_agent_s_clock_says() -> None:
    seen = Report.model_validate_json(json.dumps(body(sent_at="2026-11-20T14:00:00+02:00")))
    assert seen.sent_at == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert seen.sent_at.tzinfo is UTC


def test_the_session_is_passed_on_as_it_was_told() -> None:
    seen = report(
        "waiting",
        session={"waiting_for": "permission prompt", "tool": "Bash", "pid": 42, "session_id": UID, "detail": "asks"},
        tmux={"session": "cc-orchestrator-web", "clients": 2},
        last_activity=NOW,
    ).session_status()
    assert seen.model_dump() == {
        "state": SessionState.WAITING,
        "since": STARTED,
        "waiting_for": "permission prompt",
        "tool": "Bash",
        "pid": 42,
        "session_id": UID,
        "tmux_session": "cc-orchestrator-web",
        "clients": 2,
        "detail": "asks",
        "last_activity_at": NOW,
    }


def test_usage_is_of_the_moment_of_the_report() -> None:
    told = {"cpu_percent": 3.5, "memory_bytes": 1, "memory_limit_bytes": 2, "pids": 3, "oom_kills": 4}
    held = {"worktree_bytes": 5, "home_bytes": None}
    disk = {"disk_total_bytes": 9, "disk_free_bytes": 8}
    assert report(usage={**told, **held, **disk}).usage_status().model_dump() == {**told, **held, "at": NOW}


# What is worth a pass --------------------------------------------------------------------------------------------

SIGNIFICANT: dict[str, dict[str, Any]] = {
    "another agent process": {"boot": "another"},
    "another attempt": {"attempt": 2},
    "another state": {"session__state": "working"},
    "another thing waited for": {"session__waiting_for": "input needed"},
    "another tool": {"session__tool": "Bash"},
    "another process": {"session__pid": 43},
    "another conversation": {"session__session_id": "another"},
    "another word about it": {"session__detail": "almost there"},
    "another configuration": {"config_hash": "another"},
    "moved branches": {"refs_version": "refs-2"},
    "missing credentials": {"credentials": "missing"},
    "an answer": {"inputs": [{"id": "x", "state": "accepted", "at": "2026-01-01T00:00:00Z"}]},
    "somebody who looks on": {"tmux": {"session": "x", "clients": 1}},
    "a want of memory": {"usage__oom_kills": 1},
}
QUIET: dict[str, dict[str, Any]] = {
    "the next number": {"seq": 2},
    "a later time": {"sent_at": (NOW + timedelta(seconds=5)).isoformat()},
    "more memory": {"usage__memory_bytes": 2**30},
    "more processor time": {"usage__cpu_percent": 99.0},
    "activity": {"last_activity": NOW.isoformat()},
    "the terminal, with nobody looking on": {"tmux": {"session": "x", "clients": 0}},
}


@pytest.mark.parametrize("name", [*SIGNIFICANT, *QUIET])
def test_a_pass_is_worth(name: str) -> None:
    after = Report.model_validate(body(**(SIGNIFICANT | QUIET)[name]))
    assert (after.significant() != report().significant()) is (name in SIGNIFICANT)


# The other messages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "state"), [("accepted", InputState.ACCEPTED), ("rejected", InputState.REJECTED)])
def test_an_answer_becomes_a_state_of_the_prompt(word: str, state: InputState) -> None:
    answer = InputAcknowledgement.model_validate({"id": "input-1", "state": word, "at": NOW})
    assert answer.input_state is state


def test_the_configuration_says_schema_and_holds_nothing_secret() -> None:
    told = json.loads(wanted(instance(env={"EDITOR": "vi"}, args=["--verbose"])).config.model_dump_json(by_alias=True))
    assert told["schema"] == 1
    assert set(told) == {
        *("schema", "name", "uid", "attempt", "config_hash", "workdir", "git_dir", "session_id", "prompt", "model"),
        *("permission_mode", "args", "layout", "env", "base_url", "heartbeat_seconds"),
    }
    assert AgentConfig.model_validate(told).args == ("--verbose",)
