"""What windows a tmux session has, by the layout's name in the instance's spec. `terminal` makes them."""

from __future__ import annotations

from dataclasses import dataclass

CLAUDE = "claude"


class UnknownLayoutError(Exception):
    """There is no layout of this name; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The windows of a session: Claude's own first, then shells in the working directory."""

    shells: tuple[str, ...] = ()


LAYOUTS = {
    "default": Layout(shells=("shell",)),
    "claude": Layout(),
}


def find(name: str) -> Layout:
    """The layout of this name.

    Raises:
        UnknownLayoutError: there is none.
    """
    try:
        return LAYOUTS[name]
    except KeyError:
        known = ", ".join(sorted(LAYOUTS))
        raise UnknownLayoutError(f"layout {name!r} is not known; the layouts are: {known}") from None
