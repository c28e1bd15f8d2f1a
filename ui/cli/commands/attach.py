"""``attach``: become the command that opens the instance's tmux session; the API says which one that is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.invocation import Invocation
from ui.cli.options import NameArgument

PROGRAMS = frozenset({"docker", "podman", "nerdctl", "tmux"})
"""What a server may make us run: it is trusted with the instances, not with this machine."""


def attach(
    cli: Invocation,
    name: NameArgument,
    *,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look without typing.")] = False,
    print_only: Annotated[bool, typer.Option("--print", help="Print the command instead of running it.")] = False,
) -> None:
    """Open an instance's terminal (tmux) in this one.

    Claude goes on when you leave: detach with Ctrl-B D. Several people may be attached at once. Runs on the machine
    of the Docker engine.
    """
    with cli.client() as client:
        argv = client.instance_attach(name, read_only=read_only)
    if print_only:
        import shlex  # noqa: PLC0415  # for this option only

        cli.out.line(shlex.join(argv))
        return
    _check(argv)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure(
            "attach needs a terminal on standard input and output",
            hint=f"'cco attach {name} --print' shows the command; 'cco logs {name}' needs no terminal",
        )
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606  # no shell; the program is one of PROGRAMS


def _check(argv: tuple[str, ...]) -> None:
    program = Path(argv[0]).name if argv else ""
    if program not in PROGRAMS:
        raise Failure(
            f"the server asks to run {program!r}, which is none of {', '.join(sorted(PROGRAMS))}",
            hint="check that --server or CCO_SERVER names your own server",
        )
    if shutil.which(argv[0]) is None:
        raise Failure(
            f"{argv[0]!r} is not installed here",
            hint="run this on the machine of the Docker engine, or use the dashboard: 'cco dashboard'",
            code=ExitCode.NOT_FOUND,
        )
