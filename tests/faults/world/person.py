"""Acts of the person whose repositories they are: as their owner, never as root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PERSON = 1000 if os.geteuid() == 0 else os.geteuid()


def as_person(*argv: str, cwd: Path | str = "/", check: bool = True) -> str:
    """Run something as the owner of the repositories."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    owner = PERSON if os.geteuid() == 0 else None
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=environment,
        user=owner,
        group=owner,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout.strip()


def git(place: Path | str, *arguments: str, check: bool = True) -> str:
    """Run git as the person."""
    return as_person("git", *arguments, cwd=place, check=check)
