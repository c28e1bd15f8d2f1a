from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from controller.resources import DisplayState, Event, Instance, Repository
from ui.cli.rendering import columns
from ui.cli.rendering.description import describe_instance, describe_repository
from ui.cli.rendering.humanize import age, count, duration, percent, quantity
from ui.cli.rendering.serial import as_list, name_of, to_json, to_yaml
from ui.cli.rendering.table import Cell, Column, pairs, table
from ui.cli.rendering.terminal import Terminal, cell_width, safe

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
PIPE = Terminal(io.StringIO(), interactive=False, color=False, width=80)


def screen(width: int, *, color: bool = False) -> Terminal:
    return Terminal(io.StringIO(), interactive=True, color=color, width=width)


def an_instance(**status: object) -> Instance:
    condition = {"last_transition_at": NOW - timedelta(minutes=3), "observed_generation": 1}
    return Instance.model_validate(
        {
            "metadata": {"name": "web", "uid": "3f2c", "created_at": NOW - timedelta(hours=5, minutes=7)},
            "spec": {"repository": "shop", "branch": "feature/login", "prompt": "Fix the login\nand test it\n"},
            "status": {
                "attempt": 1,
                "conditions": [
                    {"type": "WorkspaceReady", "status": "True", "reason": "Ready", **condition},
                    {"type": "Ready", "status": "True", "reason": "Ready", **condition},
                ],
                "session": {"state": "working", "since": NOW, "tool": "Bash", "tmux_session": "cc-orchestrator-web"},
                "workload": {"name": "cco-web-1", "id": "abc", "attempt": 1, "state": "running"},
                "usage": {"cpu_percent": 12.4, "memory_bytes": 431 * 1024**2, "at": NOW},
                **status,
            },
        }
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (10 * 60, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 420, "5h7m"),
        (20 * 3600, "20h"),
        (50 * 3600, "2d2h"),
        (30 * 86400, "30d"),
        (800 * 86400, "2y"),
    ],
)
def test_duration(seconds: int, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1Ki"),
        (1536, "1.5Ki"),
        (431 * 1024**2, "431Mi"),
        (2 * 1024**3, "2Gi"),
        (5 * 1024**5, "5120Ti"),
    ],
)
def test_quantity(number: int, text: str) -> None:
    assert quantity(number) == text


def test_small_words() -> None:
    assert [percent(value) for value in (0, 0.2, 1, 150.4)] == ["0%", "<1%", "1%", "150%"]
    assert [count(number, "instance") for number in (0, 1, 2)] == ["0 instances", "1 instance", "2 instances"]
    assert count(2, "repository", "repositories") == "2 repositories"
    assert age(None, NOW) == "-"


def test_a_pipe_gets_aligned_columns_and_nothing_is_cut() -> None:
    lines = table([Column("NAME", shrinks=True), Column("N", right=True)], [["x" * 100, "1"], ["y", "22"]], PIPE)
    assert lines == ["NAME" + " " * 96 + "    N", "x" * 100 + "    1", "y" + " " * 99 + "   22"]


def test_a_screen_gets_what_fits() -> None:
    rows = [["web", "feature/a-very-long-branch-name-indeed", "Ready"]]
    lines = table([Column("NAME"), Column("BRANCH", shrinks=True), Column("REASON")], rows, screen(34))
    assert all(cell_width(line) <= 34 for line in lines)
    assert lines[1].startswith("web    feature/a-very")
    assert "…" in lines[1]


def test_the_last_column_can_continue_below_itself() -> None:
    lines = table([Column("A"), Column("MESSAGE", wraps=True)], [["x", "one two three four five six"]], screen(18))
    assert lines == ["A   MESSAGE", "x   one two three", "    four five six"]


def test_wide_characters_stay_aligned() -> None:
    lines = table([Column("A"), Column("B")], [["日本", "x"], ["e\u0301", "y"]], PIPE)
    assert lines == ["A      B", "日本   x", "e\u0301      y"]


def test_colour_is_for_screens_and_does_not_change_the_alignment() -> None:
    row: list[list[Cell | str]] = [[Cell("IDLE", "calm"), "x"]]
    coloured = table([Column("STATE"), Column("B")], row, screen(80, color=True))
    assert "\x1b[36mIDLE \x1b[0m   x" in coloured
    assert "\x1b" not in "".join(table([Column("STATE"), Column("B")], row, screen(80)))


def test_an_instance_cannot_write_to_the_terminal() -> None:
    hostile = "\x1b]52;c;cGF5bG9hZA==\x07\x9b2J\rfine\u202e"
    assert safe(hostile) == "\\x1b]52;c;cGF5bG9hZA==\\x07\\x9b2J\\rfine\\u202e"
    (line,) = table([Column("A")], [[hostile]], PIPE, heading=False)
    assert line.isprintable()
    assert "\x1b" not in "\n".join(pairs([("A", hostile)], PIPE))


def test_line_breaks_in_a_cell_become_spaces_and_in_a_pair_stay() -> None:
    assert table([Column("A")], [["one\r\n two"]], PIPE)[1] == "one two"
    assert pairs([("Key", "one\ntwo"), ("K", "x")], PIPE) == ["Key:  one", "      two", "K:    x"]


def test_the_instance_table() -> None:
    lines = table(columns.INSTANCE_COLUMNS, [columns.instance_row(an_instance(), NOW)], PIPE)
    assert lines[0].split() == ["NAME", "REPOSITORY", "BRANCH", "STATE", "REASON", "CPU", "MEMORY", "AGE"]
    assert lines[1].split() == ["web", "shop", "feature/login", "RUNNING", "Ready", "12%", "431Mi", "5h7m"]


def test_the_wide_instance_table() -> None:
    lines = table(columns.INSTANCE_WIDE_COLUMNS, [columns.instance_wide_row(an_instance(), NOW)], PIPE)
    assert lines[1].split()[8:] == ["cco-web-1", "1", "working", "Bash", "(default)"]


def test_every_state_has_a_colour() -> None:
    assert set(columns.STATE_STYLES) == set(DisplayState)


def test_describe_an_instance() -> None:
    event = Event.model_validate(
        {
            "id": 1,
            "kind": "Instance",
            "name": "web",
            "uid": "3f2c",
            "reason": "CreateWorkload",
            "message": "no container",
            "count": 3,
            "first_at": NOW,
            "last_at": NOW,
        }
    )
    page = "\n".join(describe_instance(an_instance(), [event], [], PIPE, NOW))
    for phrase in (
        "State:       RUNNING (Ready)",
        "web is working (Bash)",
        "cpus 1, memory 2Gi, pids 512",
        "Fix the login and test it",
        "cc-orchestrator-web (0 attached)",
        "WorkspaceReady   True",
        "CreateWorkload   no container (x3)",
    ):
        assert phrase in page


def test_describe_a_repository() -> None:
    repository = Repository.model_validate(
        {
            "metadata": {"name": "shop", "uid": "1", "created_at": NOW},
            "spec": {"path": "/srv/shop", "defaults": {"model": "opus"}},
            "status": {"default_branch": "main", "warnings": ["submodules are not filled"]},
        }
    )
    page = "\n".join(describe_repository(repository, [], PIPE, NOW))
    for phrase in ("/srv/shop", "main (HEAD)", "model:  opus", "submodules are not filled", "Unknown"):
        assert phrase in page


def test_json_and_yaml_can_be_read_back() -> None:
    listed = as_list([an_instance()])
    assert json.loads(to_json(listed)) == yaml.safe_load(to_yaml(listed)) == listed
    assert "\n" not in to_json(listed, compact=True)
    assert "prompt: |\n" in to_yaml(listed)
    assert name_of(an_instance()) == "instance/web"
