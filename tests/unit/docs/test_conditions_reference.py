"""The page of conditions and reasons names every reason the code can give, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from controller.reconcile.execute import EVENT_REASONS
from controller.resources.instance import STOPPED_REASONS, TRANSITIONAL_REASONS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/conditions.md").read_text(encoding="utf-8")

# Which argument of which call is a reason.
FIRST = (
    "Blocked",
    "Terminal",
    "Conflict",
    "Fenced",
    "Retryable",
    "Unavailable",
    "NotFound",
    "StaleWrite",
    "AlreadyExists",
)
SECOND = ("Refused", "respond", "ApiError")
THIRD = ("Fact", "tell")
POSITIONS = {"record": 4, **dict.fromkeys(FIRST, 0), **dict.fromkeys(SECOND, 1), **dict.fromkeys(THIRD, 2), "kept": 1}
TYPES = {"WorkspaceReady", "WorkloadRunning", "SessionReady", "AgentHealthy", "Suspended", "Ready"}


def sources() -> Iterator[str]:
    for part in ("controller", "api", "ui"):
        for path in (ROOT / part).rglob("*.py"):
            yield path.read_text(encoding="utf-8")


def reasons_in_code() -> Iterator[str]:
    for source in sources():
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            position = POSITIONS.get(name, len(node.args))
            given = [
                *node.args[position : position + 1],
                *(each.value for each in node.keywords if each.arg == "reason"),
            ]
            for argument in given:
                yield from (word for word in words(argument) if re.fullmatch(r"(?:[A-Z]+[a-z]+)+", word))


def words(argument: ast.expr) -> Iterator[str]:
    """Yield the texts an argument may be."""
    match argument:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from (*words(one), *words(other))
        case ast.BoolOp(values=several):
            for each in several:
                yield from words(each)


def test_every_reason_in_the_code_is_on_the_page() -> None:
    told = set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE))
    assert sorted({*reasons_in_code(), *EVENT_REASONS.values()} - told) == []


def test_the_reasons_that_decide_the_display_are_on_the_page() -> None:
    told = set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE))
    assert (TRANSITIONAL_REASONS | STOPPED_REASONS) - told == set()
    assert told >= TYPES


def test_every_word_on_the_page_is_in_the_code() -> None:
    code = "\n".join(sources())
    for word in set(re.findall(r"`([A-Z][a-z]+[A-Za-z]*)`", PAGE)) - {"True", "False", "Unknown"}:
        assert word in code, f"{word} is told on the page, and no code gives it"
