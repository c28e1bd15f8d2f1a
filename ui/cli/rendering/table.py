"""Aligned columns without lines: the same text for people and for pipes, only colour and width differ."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from .terminal import Terminal, cell_width, safe

GAP = 3
_LEAST = 8
_LINE_BREAKS = re.compile(r"\s*[\r\n]+\s*")


class Cell(NamedTuple):
    """One value; ``style`` is a name that :class:`Terminal` knows."""

    text: str
    style: str = ""


class Column(NamedTuple):
    """A heading and what to do when the terminal is too narrow.

    Attributes:
        right: numbers are aligned at their end.
        shrinks: may be cut with an ellipsis on a terminal; in a pipe nothing is ever cut.
        wraps: the last column only: continues on further lines instead of being cut.
    """

    title: str
    right: bool = False
    shrinks: bool = False
    wraps: bool = False


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]], terminal: Terminal, *, heading: bool = True
) -> list[str]:
    """Return the lines of a table."""
    cells = [[_as_cell(value) for value in row] for row in rows]
    titles = [Cell(column.title, "heading") for column in columns]
    everything = [titles, *cells] if heading else cells
    widths = [max((cell_width(row[index].text) for row in everything), default=0) for index in range(len(columns))]
    if terminal.interactive:
        widths = _fit(columns, widths, terminal.width)
    lines: list[str] = []
    for row in everything:
        lines.extend(_lines(columns, row, widths, terminal))
    return lines


def pairs(values: Sequence[tuple[str, Cell | str]], terminal: Terminal, *, indent: int = 0) -> list[str]:
    """Return ``Key:   value`` lines, the values aligned; a value with line breaks continues below itself."""
    width = max((cell_width(key) for key, _ in values), default=0) + 1
    lines = []
    for key, value in values:
        cell = value if isinstance(value, Cell) else Cell(value)
        first, *more = safe(cell.text).split("\n")
        lines.append(
            f"{' ' * indent}{terminal.style(_pad(key + ':', width), 'dim')}  {terminal.style(first, cell.style)}"
        )
        lines.extend(f"{' ' * (indent + width + 2)}{terminal.style(text, cell.style)}" for text in more)
    return [line.rstrip() for line in lines]


def _as_cell(value: Cell | str) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    return cell._replace(text=safe(_LINE_BREAKS.sub(" ", cell.text)).replace("\t", " "))


def _fit(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    """Return widths that fit: the widest column that may shrink gives first, none goes below a readable least."""
    widths = list(natural)
    excess = sum(widths) + GAP * (len(widths) - 1) - width
    while excess > 0:
        candidates = [
            index
            for index, column in enumerate(columns)
            if (column.shrinks or column.wraps) and widths[index] > max(_LEAST, len(column.title))
        ]
        if not candidates:
            break
        widest = max(candidates, key=lambda index: widths[index])
        widths[widest] -= 1
        excess -= 1
    return widths


def _lines(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int], terminal: Terminal) -> list[str]:
    parts: list[str] = []
    overflow: list[str] = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        text = cell.text
        if cell_width(text) > width and column.wraps:
            text, *overflow = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
        cut = _cut(text, width)
        padded = cut if column is columns[-1] and not column.right else _pad(cut, width, right=column.right)
        parts.append(terminal.style(padded, cell.style))
    lines = [(" " * GAP).join(parts)]
    offset = sum(widths[:-1]) + GAP * (len(widths) - 1)
    style = row[-1].style if row else ""
    lines.extend(" " * offset + terminal.style(text, style) for text in overflow)
    return [line.rstrip() for line in lines]


def _cut(text: str, width: int) -> str:
    if cell_width(text) <= width:
        return text
    while text and cell_width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _pad(text: str, width: int, *, right: bool = False) -> str:
    spaces = " " * (width - cell_width(text))
    return spaces + text if right else text + spaces
