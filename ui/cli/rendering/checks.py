"""Checks as people read them: by group, the word first, what to type below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from controller.resources.check import Check, CheckStatus, Repair

from .table import Cell, Column, table
from .terminal import Terminal, safe

STATUS_STYLES: dict[CheckStatus, str] = {
    CheckStatus.OK: "good",
    CheckStatus.WARN: "notice",
    CheckStatus.FAIL: "bad",
    CheckStatus.UNKNOWN: "moving",
}
_COLUMNS = (Column("STATUS"), Column("CHECK"), Column("MESSAGE", wraps=True))
_STATUS_WIDTH = max(len(status) for status in CheckStatus)


def render_checks(checks: Sequence[Check], terminal: Terminal) -> list[str]:
    """Return the lines of all groups."""
    width = max((len(check.name) for check in checks), default=0)
    lines: list[str] = []
    for group, members in groupby(checks, key=lambda check: check.group):
        rows: list[list[Cell | str]] = []
        for check in members:
            word = Cell(check.status.ljust(_STATUS_WIDTH), STATUS_STYLES[check.status])
            rows.append([word, check.name.ljust(width), check.message])
            if check.fix is not None:
                rows.append(["", "", Cell(f"next: {check.fix}", "dim")])
        lines += [*([""] if lines else []), terminal.style(safe(group), "heading")]
        lines += table(_COLUMNS, rows, terminal, heading=False)
    return lines


def render_summary(checks: Sequence[Check], terminal: Terminal) -> str:
    """Return one line: how many of which status."""
    numbers = Counter(check.status for check in checks)
    words = [
        terminal.style(f"{numbers[status]} {status}", STATUS_STYLES[status])
        for status in CheckStatus
        if numbers[status]
    ]
    return ", ".join(words)


def render_repair(repair: Repair, terminal: Terminal) -> str:
    """Return one line on something that was mended, or could not be."""
    word = terminal.style("fixed", "good") if repair.done else terminal.style("left", "notice")
    return f"{word}: {safe(repair.message)}"
