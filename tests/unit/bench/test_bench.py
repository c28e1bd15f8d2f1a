"""The bench's own arithmetic, and that nothing which has a goal goes unmeasured."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from bench.document import BEGIN, END, put
from bench.engine_requests import kinds
from bench.findings import Arm, Finding, as_markdown, as_text, number, read_json, write_json
from bench.goals import GOALS, MEASURES, Goal, goal
from bench.intervals import Estimate, bootstrap, exactly, median, median_ratio, percentile
from bench.load import Connection
from bench.processes import cpu_seconds, machine_cpu, memory
from bench.run import timed

ROOT = Path(__file__).parents[3]
BENCH = ROOT / "tests" / "bench"


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.25, 2.0), (0.5, 3.0), (0.95, 4.8), (1.0, 5.0)], ids=str)
def test_percentiles_lie_on_the_line_between_two_samples(share: float, value: float) -> None:
    assert percentile([5.0, 1.0, 3.0, 2.0, 4.0], share) == pytest.approx(value)


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_an_interval_holds_the_median_and_lies_within_the_samples() -> None:
    samples = [1.0, 1.1, 1.2, 1.3, 9.0]
    found = median(samples)
    assert found.value == 1.2
    assert min(samples) <= found.low <= found.value <= found.high <= max(samples)


def test_the_same_samples_give_the_same_interval() -> None:
    samples = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]
    assert median(samples) == median(samples)


def test_more_samples_of_the_same_kind_narrow_the_interval() -> None:
    few, many = median([1.0, 2.0, 3.0, 4.0, 5.0]), median([1.0, 2.0, 3.0, 4.0, 5.0] * 20)
    assert many.high - many.low < few.high - few.low


def test_one_sample_has_no_interval() -> None:
    assert median([2.0]) == exactly(2.0)


def test_the_interval_of_a_known_distribution_covers_its_median() -> None:
    samples = [float(number) for number in range(101)]
    found = bootstrap(samples, lambda each: percentile(each, 0.5))
    assert found.low < 50 < found.high
    assert found.high - found.low < 40


def test_ratios_are_taken_pair_by_pair() -> None:
    # The machine was twice as slow in the second pair, for both.
    assert median_ratio([1.1, 2.2, 1.1], [1.0, 2.0, 1.0]).value == pytest.approx(1.1)


def test_pairs_must_be_complete() -> None:
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1.0, 2.0], [1.0])


def _keys_in(module: str) -> set[str]:
    """Return the keys of goals that a module's findings may have; ``{...}`` stands for anything."""
    found = set()
    for node in ast.walk(ast.parse((BENCH / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(f"{module}."):
            found.add(node.value)
    return found


def _covers(keys: Iterable[str], wanted: str) -> bool:
    return any(wanted == key or wanted.startswith(key) for key in keys)


@pytest.mark.parametrize("each", GOALS, ids=lambda each: each.key)
def test_every_goal_is_measured(each: Goal) -> None:
    assert callable(importlib.import_module(f"bench.{each.module}").measure)
    assert _covers(_keys_in(each.module), each.key)


def test_no_goal_is_there_twice() -> None:
    assert len({each.key for each in GOALS}) == len(GOALS)
    assert set(MEASURES) == {each.module for each in GOALS}


def test_every_goal_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert [each.text for each in GOALS if f"| {each.text} |" not in page] == []


@pytest.mark.parametrize(
    ("key", "value", "met"),
    [("start.1", 1.35, True), ("start.1", 1.36, False), ("posts.rate", 250, True), ("posts.rate", 249, False)],
)
def test_a_goal_is_met_at_its_limit(key: str, value: float, *, met: bool) -> None:
    assert goal(key).is_met(value) is met
    assert Finding(key, exactly(value)).verdict == ("met" if met else "missed")


def test_what_has_no_goal_is_not_judged() -> None:
    assert Finding("start.1_tmux", exactly(99)).verdict == ""


def test_the_table_tells_what_was_found_and_what_failed() -> None:
    arms = {"product": Arm("s", [1.0, 2.0, 3.0], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0]), "script": Arm("s", [1.0])}
    finding = Finding("start.20", Estimate(1.234, 1.1, 1.4), arms)
    for table in (as_text([finding], {"death": "no engine"}), as_markdown([finding], {"death": "no engine"})):
        assert "1.23 (1.10 to 1.40)" in table
        assert "product 2 s, CPU 0.50 s of 1 s; script 1 s" in table
        assert "no engine" in table
    assert "cco get instances" not in as_text([finding], {})  # was not asked for
    assert "| cco get instances (100) | ≤ 350 ms |  | not measured |" in as_markdown([finding], {})


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.0123, "0.0123"), (1.5, "1.50"), (350, "350"), (1234.5, "1,234"), (5000, "5,000")]
)
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_the_file_holds_every_sample(tmp_path: Path) -> None:
    finding = Finding("start.1", exactly(1.0), {"product": Arm("s", [1.0, 2.0])})
    write_json(tmp_path / "deep" / "RESULT.json", [finding], {}, {"machine": "this"})
    told = json.loads((tmp_path / "deep" / "RESULT.json").read_text())
    assert told["machine"] == "this"
    assert told["findings"][0]["arms"]["product"]["samples"] == [1.0, 2.0]
    assert told["findings"][0]["verdict"] == "met"


def test_what_was_written_can_be_read_again_and_put_into_a_page(tmp_path: Path) -> None:
    found = [Finding("idle.cpu", Estimate(1.0, 0.9, 1.1), {"controller": Arm("% of a core", [1.0])}, ("a note",))]
    write_json(tmp_path / "RESULT.json", found, {"death": "no engine"}, {"commit": "abc"})
    assert read_json(tmp_path / "RESULT.json") == (found, {"death": "no engine"}, {"commit": "abc"})
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_time_and_cost_of_an_act_are_kept() -> None:
    arm, cost = Arm("s"), iter([1.0, 3.5])
    assert timed(arm, lambda: next(cost), lambda: 0.25) == 0.25
    assert (arm.samples, arm.cpu_seconds) == ([0.25], [2.5])
    assert arm.machine_cpu_seconds[0] >= 0


def test_a_process_has_used_time_and_memory() -> None:
    assert 0 < cpu_seconds([1]) + cpu_seconds(["self"]) <= machine_cpu()  # type: ignore[list-item]  # /proc/self
    assert 1 < memory("self") <= memory("self", "Rss") + 1  # type: ignore[arg-type]  # /proc/self


def test_requests_to_the_engine_are_counted_by_kind() -> None:
    identifier = "a" * 64
    data = (
        f"GET /v1.41/containers/{identifier}/json HTTP/1.1\r\nHost: docker\r\n\r\n"
        f"POST /v1.41/containers/{identifier}/exec HTTP/1.1\r\nHost: docker\r\n\r\n{{}}"
        f"GET /v1.41/containers/{identifier}/stats?stream=1 HTTP/1.1\r\n\r\n"
        "GET /containers/json?all=1 HTTP/1.1\r\n\r\n"
    )
    assert kinds(data.encode()) == [
        "GET /containers/ID/json",
        "POST /containers/ID/exec",
        "GET /containers/ID/stats",
        "GET /containers/json",
    ]


def test_a_load_needs_an_answer_of_200() -> None:
    import socket  # noqa: PLC0415  # for this one
    import threading  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as server:
        answers = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            b"lo",
            b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n",
        ]

        def serve() -> None:
            link, _ = server.accept()
            with link:
                link.recv(4096)
                link.sendall(answers[0])
                link.sendall(answers[1])
                link.recv(4096)
                link.sendall(answers[2])

        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection(server.getsockname()[1], "/", "token")
        connection.send()
        assert connection.receive() == b"hello"
        connection.send()
        with pytest.raises(RuntimeError, match="429"):
            connection.receive()
        connection.close()
        thread.join(10)
