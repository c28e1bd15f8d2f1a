"""``version``: which program this is; asks nobody, so it works when nothing else does."""

from __future__ import annotations

from ui.cli.invocation import Invocation
from ui.cli.release import release


def version(cli: Invocation) -> None:
    """Print the version."""
    cli.out.line(release())
