"""When the user's branch moves: numbered cases over a history of five commits, and nothing but them."""

from __future__ import annotations

import pytest

from controller.workspace.collect import Decision, decide

# 1 - 2 - 3      the agent's and the person's line
#      \- 4 - 5  what a rewrite or the other one made
PARENTS = {"2": "1", "3": "2", "4": "2", "5": "4"}


def contains(old: str, new: str | None) -> bool:
    while new is not None and new != old:
        new = PARENTS.get(new)
    return new == old


@pytest.mark.parametrize(
    ("number", "head", "brought", "theirs", "expected"),
    [
        (1, "2", "2", None, Decision()),
        (2, "2", "2", "2", Decision()),
        (3, "2", "2", "3", Decision(move_to="3")),
        (4, "2", None, "3", Decision(move_to="3")),
        (5, "1", "2", "3", Decision(move_to="3")),
        (6, "3", "3", "4", Decision(move_to="4", rewrite=True)),
        (7, "3", "3", "2", Decision(move_to="2", rewrite=True)),
        (8, "3", "2", "2", Decision()),
        (9, "3", None, "2", Decision()),
        (10, "3", "2", "4", Decision(diverged=True)),
        (11, "3", None, "4", Decision(diverged=True)),
        (12, "4", "3", "3", Decision()),
        (13, "5", "2", "4", Decision()),
        (14, None, "2", "2", Decision()),
        (15, None, "2", "3", Decision(diverged=True)),
        (16, None, None, None, Decision()),
    ],
)
def test_case(number: int, head: str | None, brought: str | None, theirs: str | None, expected: Decision) -> None:
    assert (number, decide(head, brought, theirs, contains)) == (number, expected)
