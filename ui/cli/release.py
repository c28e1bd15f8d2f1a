"""Which version of cc-orchestrator this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Return the program's name and version, as ``version`` prints it."""
    try:
        number = version("cc-orchestrator")
    except PackageNotFoundError:
        number = "unknown (not installed)"
    return f"cc-orchestrator {number}"
