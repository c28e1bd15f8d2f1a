"""The controller of an ordinary user, in a process of its own: root may look everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from controller.workspace.types import WorkspaceRef
from support.git_world import GitWorld

ROOT = Path(__file__).parents[2]

_PROGRAM = """
import sys
from pathlib import Path
from controller.errors import CcoError
from controller.workspace import GitWorkspaces
from controller.workspace.types import WorkspaceRef
ref, verb, options = eval(sys.argv[2]), sys.argv[3], eval(sys.argv[4])
workspaces = GitWorkspaces(Path(sys.argv[1]))
try:
    if verb == "snapshot":
        options = {"message": "x", **options}
    found = getattr(workspaces, verb)(ref, **options)
    print(f"{found.presence} {found.unsaved}" if verb == "inspect" else "done")
except CcoError as error:
    print(f"{error.reason}: {error.message}")
"""


def give_state(world: GitWorld) -> None:
    """Let the state directory be that of the repository's owner."""
    for path in (world.state_dir, *world.state_dir.rglob("*")):
        os.chown(path, world.owner, world.owner, follow_symlinks=False)


def as_user(world: GitWorld, ref: WorkspaceRef, verb: str, **options: object) -> str:
    """Do something as the repository's owner; returns ``done``, what a look found, or the error."""
    drop = ("setpriv", f"--reuid={world.owner}", f"--regid={world.owner}", "--clear-groups")
    done = subprocess.run(
        (
            *(drop if os.geteuid() != world.owner else ()),
            *(sys.executable, "-c", _PROGRAM, str(world.state_dir), repr(ref), verb, repr(options)),
        ),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
