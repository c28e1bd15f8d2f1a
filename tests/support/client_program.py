"""Claude Code for tests that run it on this machine: taken out of the instance image, kept below ``.cache``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .agent_box import docker

ROOT = Path(__file__).parents[2]


def claude_of(image: str) -> Path:
    """Return the program of an image; ``CCO_CLAUDE`` names another one."""
    if named := os.environ.get("CCO_CLAUDE"):
        return Path(named)
    program = ROOT / ".cache" / "claude" / docker("image", "inspect", "--format", "{{.Id}}", image)[7:19] / "claude"
    if not program.exists():
        for old in program.parents[1].glob("*"):
            shutil.rmtree(old, ignore_errors=True)
        program.parent.mkdir(parents=True)
        container = docker("create", "--label", "cco-test=1", image)
        try:
            docker("cp", f"{container}:/usr/local/bin/claude", str(program))
        finally:
            docker("rm", container)
    return program
