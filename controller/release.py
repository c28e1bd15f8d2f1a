"""Which version of the program this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Return the version of this program."""
    try:
        return version("cc-orchestrator")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "0.0.0+unknown"
