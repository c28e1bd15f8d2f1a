"""``version``: which program this is; asks nobody, so it works when nothing else does."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version

from ui.cli.invocation import Invocation


def version(cli: Invocation) -> None:
    """Print the version."""
    try:
        number = distribution_version("cc-orchestrator")
    except PackageNotFoundError:
        number = "unknown (not installed)"
    cli.out.line(f"cc-orchestrator {number}")
