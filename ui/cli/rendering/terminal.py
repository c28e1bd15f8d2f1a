"""Where output goes: is it a person's terminal, how wide is it, may it be coloured?"""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from dataclasses import dataclass
from typing import Any, TextIO

import typer

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]|[\u202a-\u202e\u2066-\u2069]")
_STYLES: dict[str, dict[str, Any]] = {
    "": {},
    "heading": {"bold": True},
    "good": {"fg": "green"},
    "calm": {"fg": "cyan"},
    "notice": {"fg": "yellow"},
    "bad": {"fg": "red"},
    "moving": {"fg": "blue"},
    "dim": {"dim": True},
    "added": {"fg": "green"},
    "removed": {"fg": "red"},
}


def safe(text: str) -> str:
    r"""Return text in which no terminal finds a command: what an instance says is not trusted.

    Escape and other control characters (but not line feed and tab) and bidirectional overrides become visible
    escapes such as ``\x1b``.
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def cell_width(text: str) -> int:
    """Return how many terminal cells the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


@dataclass(frozen=True, slots=True)
class Terminal:
    """One output stream.

    Attributes:
        interactive: a person looks at it (it is a terminal); then lines are cut or wrapped to ``width``.
        color: styles are applied.
    """

    stream: TextIO
    interactive: bool
    color: bool
    width: int

    @classmethod
    def of(cls, stream: TextIO, *, no_color: bool = False) -> Terminal:
        """Look at a stream; ``NO_COLOR`` and ``TERM=dumb`` are respected."""
        interactive = stream.isatty()
        plain = no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        return cls(stream, interactive, interactive and not plain, shutil.get_terminal_size().columns)

    def style(self, text: str, style: str) -> str:
        """Return the text in one of the named styles, or as it is where colour is not wanted."""
        return typer.style(text, **_STYLES[style]) if self.color and style and text else text

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line and flush it, so that a reader of a pipe sees it at once."""
        self.stream.write(self.style(text, style) + "\n")
        self.stream.flush()


def standard_output(*, no_color: bool = False) -> Terminal:
    """Return the terminal for results."""
    return Terminal.of(sys.stdout, no_color=no_color)


def standard_error(*, no_color: bool = False) -> Terminal:
    """Return the terminal for errors, warnings and progress."""
    return Terminal.of(sys.stderr, no_color=no_color)
