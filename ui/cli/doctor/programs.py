"""The programs of this machine, its terminal and its port, each looked at without changing anything."""

from __future__ import annotations

import contextlib
import errno
import json
import locale
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from controller.doctor.examination import Finding, failed, notable, well

SECONDS = 6.0
OLDEST_GIT = (2, 38)
"""As ``controller.workspace.git`` has it."""

_LEAST_COLUMNS = 80
_INSTALL = "make engine"


def run_program(*argv: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str] | None:
    """Run a program that only looks; ``None`` where it is not installed or did not end in time."""
    program = shutil.which(argv[0])
    if program is None:
        return None
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(  # noqa: S603  # fixed words, no shell
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    return None


def examine_docker(engine_matters: Callable[[], bool]) -> Finding:
    """Judge Docker's command line, and whether an engine answers it.

    Args:
        engine_matters: tells, once it is known, whether nobody else looks at the engine (no controller answers).
    """
    if shutil.which("docker") is None:
        message = "docker is not on this machine: 'make up' and 'cco attach' need it; only runtime 'process' does not"
        return notable(message, _INSTALL)
    done = run_program("docker", "version", "--format", "{{json .}}")
    versions = _versions(done.stdout if done is not None else "")
    client = (versions.get("Client") or {}).get("Version", "of unknown version")
    server = (versions.get("Server") or {}).get("Version")
    if server is None:
        said = " ".join((done.stderr if done is not None else "it did not answer in time").split())[:300]
        judge = failed if engine_matters() else notable
        return judge(f"docker {client}, and no engine answers it: {said}", _INSTALL)
    return well(f"docker {client}, engine {server}")


def examine_plugin(plugin: str, *arguments: str) -> Finding:
    """Judge one of Docker's plugins, ``compose`` or ``buildx``."""
    if shutil.which("docker") is None:
        return notable(f"docker {plugin} is not on this machine, as docker is not: 'make up' needs it", _INSTALL)
    done = run_program("docker", plugin, *arguments)
    found = re.search(r"\bv?(\d+\.\d+[^\s]*)", done.stdout) if done is not None and done.returncode == 0 else None
    if found is None:
        return notable(f"docker {plugin} is not on this machine: 'make up' needs it", _INSTALL)
    return well(f"docker {plugin} {found[1]}")


def examine_git() -> Finding:
    """Judge git's version; in the composed system the controller's own git counts, not this one."""
    done = run_program("git", "version")
    found = re.search(r"(\d+)\.(\d+)[^\s]*", done.stdout) if done is not None else None
    if found is None:
        return notable("git is not on this machine: a controller outside a container needs it, and so do you")
    if (int(found[1]), int(found[2])) < OLDEST_GIT:
        oldest = ".".join(map(str, OLDEST_GIT))
        return notable(
            f"git {found[0]} is older than {oldest}, which a controller outside a container needs: update it"
        )
    return well(f"git {found[0]}")


def examine_tmux(runtime: str) -> Finding:
    """Judge tmux, which only runtime ``process`` needs on this machine; containers bring their own."""
    done = run_program("tmux", "-V")
    if done is None:
        if runtime == "process":
            return failed(
                "tmux is not on this machine and runtime 'process' needs it: install it", "apt-get install tmux"
            )
        return well("tmux is not on this machine; only runtime 'process' needs it")
    return well(" ".join(done.stdout.split()) or "tmux of unknown version")


def examine_terminal() -> Finding:
    """Judge whether a session can be shown here."""
    if not sys.stdout.isatty():
        return well("output does not go to a terminal, so it is plain and never cut")
    kind = os.environ.get("TERM", "")
    columns = shutil.get_terminal_size().columns
    problems = []
    if kind in {"", "dumb"}:
        problems.append(
            f"TERM is {kind or 'not set'}, so 'cco attach' cannot draw: set it, for example to xterm-256color"
        )
    if locale.getencoding().lower() not in {"utf-8", "utf8"}:
        problems.append(f"its encoding is {locale.getencoding()}: set LANG, for example to C.UTF-8")
    if columns < _LEAST_COLUMNS:
        problems.append(f"it has {columns} columns and Claude Code wants {_LEAST_COLUMNS}: make it wider")
    return notable("; ".join(problems)) if problems else well(f"{kind}, {columns} columns, UTF-8")


def examine_port(host: str, port: int, *, ours: bool) -> Finding:
    """Judge whether the server can have its port.

    Args:
        host: where the server listens.
        port: likewise.
        ours: our server has just answered there.
    """
    where = f"port {port} of {host}"
    if ours:
        return well(f"{where} is our server's")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return failed(
                    f"{where} is taken by another program, so the server cannot start: end that, or set CCO_PORT",
                    f"ss -ltnp 'sport = :{port}'",
                )
            return failed(f"{where} cannot be used ({error.strerror}): set CCO_HOST and CCO_PORT")
    return well(f"{where} is free")


def _versions(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
