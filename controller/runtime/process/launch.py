"""How a workload is started: what the shim is told, and how a forked child becomes the workload's first process.

The order arrives at the shim as JSON on its standard input: nothing of it is in an argument list or an environment
that outlives the start. Credentials are not in it at all; they come to the agent over its own socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import resource
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from controller.runtime.protocol import Limits

from .cgroups import Cgroup
from .processes import end_with_parent

MARK = "CC_ORCHESTRATOR_WORKLOAD"
"""Environment variable by which a workload's processes are found wherever they went; its value is the record's id."""
USAGE = "{usage}"
"""In the argument list: how the agent measures, which only the shim knows."""
SCRATCH_FOLDERS = ("secrets", "agent", "tmux")
EXEC_FAILED = 127

_OPEN_FILES = 16_384
# When the whole machine runs out of memory, an instance goes before what the machine is there for.
_OOM_SCORE = 500


@dataclass(frozen=True, slots=True)
class Order:
    """Everything a shim needs to know.

    Attributes:
        root: folder of the records.
        id: of the workload's record.
        run: identifier of the run that begins.
        user: ``None`` when there is no other user to become.
        scratch: folder to make for this run, on memory where there is any.
    """

    root: str
    name: str
    id: str
    run: str
    argv: Sequence[str]
    env: Mapping[str, str]
    workdir: str
    user: tuple[int, int] | None
    limits: Limits
    scratch: str

    def dump(self) -> str:
        """Return the order as text."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Order:
        """Return the order from its text."""
        data = json.loads(text)
        user = tuple(data["user"]) if data["user"] else None
        return cls(**{**data, "user": user, "limits": Limits(**data["limits"])})


def mark_of(id_: str) -> str:
    """Return the mark of a workload's processes as it stands in their environment."""
    return f"{MARK}={id_}"


def base_environment(user: tuple[int, int] | None) -> dict[str, str]:
    """Return what processes get of our own environment, which holds credentials: the few names that cannot."""
    kept = {name: os.environ[name] for name in ("PATH", "TZ", "TMPDIR") if name in os.environ}
    uid = os.geteuid() if user is None else user[0]
    with contextlib.suppress(KeyError):
        kept["USER"] = kept["LOGNAME"] = pwd.getpwuid(uid).pw_name
    return {"LANG": "C.UTF-8", "TERM": "xterm-256color", **kept}


def make_scratch(order: Order) -> None:
    """Make the run's folder, empty, closed to others, owned by the workload's user."""
    for folder in (Path(order.scratch), *(Path(order.scratch) / each for each in SCRATCH_FOLDERS)):
        folder.mkdir(mode=0o700, exist_ok=folder.name != Path(order.scratch).name)
        if order.user is not None:
            os.chown(folder, *order.user)


def limit_resources() -> None:
    """Set the limits of every process of a workload, inherited by all it starts.

    Not RLIMIT_AS: Claude Code's runtime reserves tens of gigabytes of addresses it never uses. Not RLIMIT_NPROC: it
    counts all processes of the user, the person's own, too. Memory and processes are limited by the cgroup.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    # A core dump would put what the processes know, credentials too, into the worktree.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")


def _as_if_new() -> None:
    """Take back what Python, a shell's ``&`` or ``nohup`` left to be inherited."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)


def become(order: Order, cgroup: Cgroup, output: int, shim: int) -> None:
    """Turn this freshly forked process into the workload's first one; returns never.

    Raises:
        OSError: something of it is not possible; its text is for people.
    """
    os.setsid()
    cgroup.enter()
    limit_resources()
    if order.user is not None:
        os.setgroups([])
        os.setgid(order.user[1])
        os.setuid(order.user[0])
    end_with_parent(shim)
    _as_if_new()
    os.chdir(order.workdir)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    argv = [each.replace(USAGE, "cgroup" if cgroup.counts() else "processes") for each in order.argv]
    os.execvpe(argv[0], argv, dict(order.env))  # noqa: S606  # no shell is what is wanted
