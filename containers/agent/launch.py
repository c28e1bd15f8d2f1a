"""Become Claude: the program in Claude's tmux pane, run as ``python3 -I -S launch.py SPEC``.

It reads argv and environment from the file that `command` wrote, takes the credentials from their files and calls
exec, so the pane's process id is Claude's. Of the package it imports nothing: it has to be quick.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

OOM_SCORE = 300
"""Out of memory, the kernel is to end Claude or what it runs, not the agent that tells what happened."""


def main(spec_file: str) -> None:
    """Replace this process.

    Raises:
        SystemExit: there is no such program.
        OSError: the specification or a credential cannot be read.
    """
    spec = json.loads(Path(spec_file).read_text(encoding="utf-8"))
    environment = {**os.environ, **spec["env"]}
    for name, path in spec["env_files"].items():
        environment[name] = Path(path).read_text(encoding="utf-8")
    program = shutil.which(spec["argv"][0], path=environment.get("PATH"))
    if program is None:
        sys.exit(f"{spec['argv'][0]} was not found on PATH")
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    os.execve(program, spec["argv"], environment)  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main(sys.argv[1])
