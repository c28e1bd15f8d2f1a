"""The page of conditions and reasons names every reason the code can give, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from controller.resources.instance import STOPPED_REASONS, TRANSITIONAL_REASONS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/conditions.md").read_text(encoding="utf-8")

# Which argument of which call is a reason.
POSITIONS = {"Fact": 2, "Blocked": 0, "Terminal": 0, "Conflict": 0, "Fenced": 0, "Retryable": 0, "Unavailable": 0}
TYPES = {"WorkspaceReady", "WorkloadRunning", "SessionReady", "AgentHealthy", "Suspended", "Ready"}


def reasons_in_code() -> Iterator[str]:
    for path in (ROOT / "controller").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            position = POSITIONS.get(node.func.id)
            if position is None or len(node.args) <= position:
                continue
            argument = node.args[position]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def test_every_reason_in_the_code_is_on_the_page() -> None:
    told = set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE))
    assert set(reasons_in_code()) - told == set()


def test_the_reasons_that_decide_the_display_are_on_the_page() -> None:
    told = set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE))
    assert (TRANSITIONAL_REASONS | STOPPED_REASONS) - told == set()
    assert told >= TYPES


def test_every_word_on_the_page_is_in_the_code() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "controller").rglob("*.py"))
    for word in set(re.findall(r"`([A-Z][a-z]+[A-Za-z]*)`", PAGE)) - {"True", "False", "Unknown"}:
        assert word in code, f"{word} is told on the page, and no code gives it"
