"""The table of checks names tests that exist, leaves no check out, and gives a reason for every waiver."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ROWS = [
    (int(number), check, answer)
    for number, check, answer in re.findall(r"^\| (\d+) \| (.+?) \| (.+) \|$", PAGE, flags=re.MULTILINE)
]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_no_check_is_left_out() -> None:
    assert [number for number, _, _ in ROWS] == sorted(number for number, _, _ in ROWS)
    assert {number for number, _, _ in ROWS} == set(range(1, 40))


@pytest.mark.parametrize(("number", "check", "answer"), ROWS, ids=[f"{number} {check}" for number, check, _ in ROWS])
def test_a_check_has_a_test_that_exists_or_a_reason(number: int, check: str, answer: str) -> None:
    named = re.findall(r"`(tests/[^`]+)`", answer)
    for each in named:
        path, _, test = each.partition("::")
        assert (ROOT / path).is_file(), each
        assert not test or test in functions_of(ROOT / path), each
    if answer.startswith("Waived: "):
        assert len(answer) > 60, (number, check)
    else:
        assert named, (number, check)


def test_other_tests_named_on_the_page_exist() -> None:
    for each in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (ROOT / each).exists(), each
