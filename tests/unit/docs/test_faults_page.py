"""The page of faults leaves none out, names tests that exist and bounds that they demand; docstrings lead back."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
LAST = 34


def rows_of(title: str) -> list[tuple[str, str, str, str]]:
    """Return the rows of the table below a title, without its head."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (\d+|all) \| (.+?) \| (.+?) \| (.+) \|$", section, flags=re.MULTILINE)


FAULTS = rows_of("Every fault, and its tests")
WIDER = rows_of("Where a bound is wider")
TESTS = {number: re.findall(r"`(tests/[^`]+)`", tests) for number, _, _, tests in FAULTS}

TEST_FILES = [*sorted((ROOT / "tests/faults").rglob("test_*.py")), ROOT / "tests/integration/api/test_fuzz.py"]
REFERENCE = re.compile(r"[Ss]cenarios? ([\d, and]+) of docs/faults\.md")

BOUNDS = [
    ("1", "tests/faults/test_in_process.py", "LEAST_K = 600", "no fewer than 600 acts"),
    ("1", "tests/faults/test_real.py", "LEAST_K = 200", "200 with the real one"),
    (
        "2",
        "tests/faults/world/test_many.py",
        "COUNT = 100 if EVERYTHING else 20",
        "20 instances run (`make faults`: 100)",
    ),
    ("3", "tests/integration/controller/test_two_controllers.py", "assert took <= 1.0", "at most 1 s after"),
    ("7", "tests/faults/engine/test_silence.py", "RENAMES = 400", "400 renames"),
    (
        "8",
        "tests/faults/engine/test_silence.py",
        "slow <= max(SLOW_MILLISECONDS, 3 * calm)",
        "3 times as long as before",
    ),
    ("8", "tests/faults/engine/test_silence.py", "SLOW_MILLISECONDS = 100.0", "p99 at most 100 ms"),
    ("8", "tests/faults/engine/test_silence.py", "MOST_THREADS_MORE = 30", "at most 30 threads more"),
    ("9", "tests/faults/world/test_by_hand.py", "< 1.5 * cold + 5", "1.5 times a first start plus 5 s"),
    ("16", "tests/faults/world/test_many.py", "GROWTH = 12", "at most 12 threads and 12 open files"),
    ("21", "tests/faults/world/test_limits.py", "assert took < 30", "deleted within 30 s"),
    ("21", "tests/e2e/test_security.py", "assert took < 40", "within 40 s"),
    ("24", "tests/faults/world/test_controller.py", "LOCKED_SECONDS = 10.0\nREAD_SECONDS = 2.0", "less than 2 s"),
    (
        "27",
        "tests/faults/world/test_many.py",
        "late[-1] < calm[-1] * 1.5 + 1.5",
        "less than 1.5 times the slowest of four before, plus 1.5 s",
    ),
    (
        "30",
        "tests/faults/world/test_clients.py",
        "DEAD_READERS, HALF_OPEN = 100, 500",
        "100 watchers that never read, 500",
    ),
    ("30", "tests/faults/world/test_clients.py", "GROWTH = 20 << 20", "less than 20 MiB"),
    (
        "30",
        "tests/faults/world/test_clients.py",
        "busy < 2 * calm + 0.05",
        "less than 2 times as long as before, plus 50 ms",
    ),
    ("30", "tests/unit/api/test_watch.py", "assert grown < 40", "less than 40 MiB"),
    ("32", "tests/faults/engine/test_restarts.py", "warm < max(2 * cold, SLOW_SECONDS)", "within 2 times a cold start"),
    ("32", "tests/faults/engine/test_restarts.py", "SLOW_SECONDS = 45.0", "or 45 s"),
    ("33", "tests/faults/engine/test_upgrade_and_limits.py", "FEW = 64", "may open 64 files"),
    ("33", "tests/faults/engine/test_upgrade_and_limits.py", "assert share < 0.2", "less than 20 % of a core"),
    (
        "34",
        "tests/soak/__main__.py",
        "MAX_RSS_SLOPE = 1.0\nMAX_FDS_SLOPE = 2.0",
        "at most 1 MiB an hour, open files by at most 2",
    ),
    ("34", "tests/soak/__main__.py", "SLOPE_HOURS = 6.0", "that lived for six hours"),
    (
        "34",
        "tests/soak/__main__.py",
        "MAX_RSS_GROWTH = 6.0\nMAX_FDS_GROWTH = 5.0",
        "those of a shorter life by at most 6 MiB and 5 files altogether",
    ),
]
"""Number, file, what stands there, and how the page tells it."""


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_no_fault_is_left_out() -> None:
    assert [number for number, *_ in FAULTS] == [str(number) for number in range(1, LAST + 1)]


@pytest.mark.parametrize(("number", "tests"), [(number, tests) for number, _, _, tests in FAULTS])
def test_a_fault_has_a_test_that_exists_or_a_reason(number: str, tests: str) -> None:
    assert TESTS[number] or tests.startswith("No test: "), number
    assert not tests.startswith("No test: ") or len(tests) > 60, number
    for each in TESTS[number]:
        path, _, test = each.partition("::")
        assert (ROOT / path).exists(), each
        assert not test or test in functions_of(ROOT / path), each


def test_what_else_the_page_names_exists() -> None:
    for each in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (ROOT / each).exists(), each


def test_a_wider_bound_is_of_a_fault_and_has_its_reason() -> None:
    numbers = [int(number) for number, *_ in WIDER if number != "all"]
    assert numbers == sorted({*numbers})
    assert {*map(str, numbers)} < TESTS.keys()
    assert all(len(why) > 20 for *_, why in WIDER)


@pytest.mark.parametrize(("number", "path", "demanded", "told"), BOUNDS)
def test_the_page_tells_the_bound_that_a_test_demands(number: str, path: str, demanded: str, told: str) -> None:
    assert demanded in (ROOT / path).read_text(encoding="utf-8"), f"docs/faults.md says of {number}: {told}"
    (row,) = [f"{fault} {holds} {tests}" for each, fault, holds, tests in FAULTS if each == number]
    assert told in row, path


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_a_number_in_a_docstring_is_that_of_a_row_which_names_the_file(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    named = [number for found in REFERENCE.findall(docstring) for number in re.findall(r"\d+", found)]
    told = REFERENCE.sub("", docstring)
    assert not re.search(r"[Ss]cenarios? \d| \(\d+\)|Method \d", told), "a number of what? say: of docs/faults.md"
    here = str(path.relative_to(ROOT))
    known = {number for number, tests in TESTS.items() if any(test.startswith(here) for test in tests)}
    assert {*named} == known, "docs/faults.md names tests of this file for others"
