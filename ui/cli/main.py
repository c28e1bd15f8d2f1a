"""The entry point of ``cc-orchestrator`` and ``cco``; the program itself is in ``program``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit.

    ``version`` is answered before anything is imported: scripts and shell prompts ask for it, and Typer alone takes
    a fifth of a second, because it brings pydantic.
    """
    if sys.argv[1:] == ["version"]:
        from .release import release  # noqa: PLC0415  # see the docstring

        sys.stdout.write(f"{release()}\n")
        return
    from .garbage import collect_later  # noqa: PLC0415  # see the docstring

    collect_later()
    from .program import run  # noqa: PLC0415  # see the docstring

    run()
