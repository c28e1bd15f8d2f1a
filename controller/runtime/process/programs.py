"""The programs an instance needs, on this machine: Claude Code, tmux, git, and our agent with its packages.

In an image they are put together once; here they are whatever the user has, so they are looked for before anything is
made, and what is missing is named with the way to get it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from controller.errors import Terminal

from .access import User, is_reachable
from .launch import USAGE
from .processes import has_pidfds

_HERE = Path(__file__).parent
_AGENT_PLACES = (_HERE / "_agent", _HERE.parents[2] / "containers")
"""In an installed package, in a checkout; each holds the package ``agent``."""
_SETTINGS_PLACES = (_HERE / "_agent" / "managed-settings.json", _AGENT_PLACES[1] / "instance" / "managed-settings.json")
_IN_IMAGE = "/usr/bin/python3 -I -S /opt/cco/agent/hook.py"
_SYSTEM_PYTHON = "/usr/bin/python3"
_GET_CLAUDE = (
    "install Claude Code (npm install --global @anthropic-ai/claude-code), or name the program with CCO_CLAUDE"
)
_GIT = """\
#!/bin/sh
# Made by cc-orchestrator. In this instance's worktree git uses the private git directory that GIT_DIR names. Elsewhere,
# in a repository inside the worktree, and for clone and init it is to find its own.
place=. verb= before=
for word; do
  case $before in -C) place=$word before= ; continue ;; -c) before= ; continue ;; esac
  case $word in -C | -c) before=$word ;; -*) ;; *) verb=$word; break ;; esac
done
folder=$(cd "$place" 2>/dev/null && pwd -P)
top=$(cd "${GIT_WORK_TREE:-/nowhere}" 2>/dev/null && pwd -P)
while [ -n "$folder" ] && [ "$folder" != "$top" ]; do
  if [ -e "$folder/.git" ]; then folder=; else folder=${folder%/*}; fi
done
case $verb in clone | init) folder= ;; esac
if [ -z "$folder" ]; then unset GIT_DIR GIT_WORK_TREE; fi
exec REAL "$@"
"""
_GET_PACKAGES = "pip install 'cc-orchestrator[agent]'"


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are.

    Attributes:
        python: runs the agent; ours, or, where the agent's user cannot reach ours, the system's.
        packages: folders of its packages, which its Python may not know of.
        agent: folder that holds the package ``agent``.
        settings: Claude's settings as an image has them.
    """

    claude: str
    tmux: str
    git: str
    python: str
    packages: tuple[str, ...]
    agent: Path
    settings: Path

    def identity(self) -> str:
        """Return what stands for an image's identifier: it changes when the client does."""
        seen = os.stat(self.claude)  # noqa: PTH116  # follows links: the program itself
        text = json.dumps([os.path.realpath(self.claude), seen.st_size, seen.st_mtime_ns])
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def find_programs(claude: str, user: User | None = None) -> Programs:
    """Find everything an instance needs; ``user`` is whom it runs as, where that is not us.

    Raises:
        Terminal: ``ProgramMissing``, naming the program and how to get it.
    """
    if not has_pidfds():
        raise _missing("a kernel with pidfds (Linux 5.3)", "use runtime 'docker', or a newer kernel")
    agent = next((place for place in _AGENT_PLACES if (place / "agent" / "__main__.py").is_file()), None)
    settings = next((path for path in _SETTINGS_PLACES if path.is_file()), None)
    if agent is None or settings is None:
        raise _missing("the agent", "install cc-orchestrator again: its package 'agent' is not there")
    packages = []
    for package in ("libtmux", "psutil"):
        found = find_spec(package)
        if found is None or found.origin is None:
            raise _missing(f"the Python package {package}", _GET_PACKAGES)
        packages.append(str(Path(found.origin).parents[1]))
    python = sys.executable
    if not is_reachable(python, user) and is_reachable(_SYSTEM_PYTHON, user) and _can_run_agent(_SYSTEM_PYTHON):
        python = _SYSTEM_PYTHON
    return Programs(
        claude=_find(claude, _GET_CLAUDE),
        tmux=_find("tmux", "install the package tmux"),
        git=_find("git", "install the package git"),
        python=python,
        packages=tuple(dict.fromkeys(packages)),
        agent=agent,
        settings=settings,
    )


@cache
def _can_run_agent(python: str) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([python, "-I", "-S", "-c", check], timeout=10, check=False).returncode == 0  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False


def _find(name: str, way_out: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise _missing(f"the program {name!r}", way_out)
    return os.path.abspath(found)  # noqa: PTH100  # a link stays: it is what a person updates


def _missing(what: str, way_out: str) -> Terminal:
    return Terminal("ProgramMissing", f"{what} is not on this machine, which runtime 'process' needs: {way_out}")


def agent_argv(programs: Programs, *, run: Path, scratch: Path, settings: Path) -> list[str]:
    """Return how the agent is started; the folder of its package is on nobody else's path."""
    return [
        *(programs.python, "-I", str(_HERE / "start_agent.py")),
        os.pathsep.join([str(programs.agent), *programs.packages]),
        "run",
        f"--run-dir={run}",
        f"--secrets-dir={scratch / 'secrets'}",
        f"--scratch-dir={scratch / 'agent'}",
        f"--claude={programs.claude}",
        f"--claude-settings={settings}",
        f"--usage={USAGE}",
    ]


def write_settings(programs: Programs, path: Path) -> None:
    """Write Claude's settings, hooks above all, for the agent of this machine; readable by all, written by us alone.

    Raises:
        OSError: it cannot be written.
    """
    hook = shlex.join(
        [
            _SYSTEM_PYTHON if Path(_SYSTEM_PYTHON).exists() else programs.python,
            "-I",
            "-S",
            str(programs.agent / "agent/hook.py"),
        ]
    )
    text = programs.settings.read_text(encoding="utf-8")
    _replace(path, text.replace(json.dumps(_IN_IMAGE)[1:-1], json.dumps(hook)[1:-1]), 0o444)


def write_git(programs: Programs, folder: Path) -> None:
    """Write the ``git`` that comes first on an instance's PATH.

    In the worktree it does as the variables say, anywhere else as if there were none: ``git clone`` and other
    repositories work.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    _replace(folder / "git", _GIT.replace("REAL", shlex.quote(programs.git)), 0o555)


def _replace(path: Path, text: str, mode: int) -> None:
    aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.chmod(mode)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
