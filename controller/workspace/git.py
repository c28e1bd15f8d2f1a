"""The one place that runs git: minimal environment, no hooks, no network, dropped privileges, bounded time.

Everything else in this package asks a :class:`Git` bound to one git directory. GitPython starts the process
(``Git.execute``) and is not used for anything else: its repository objects read and trust configuration that
an agent may have written. Rules that hold for every process:

- the git directory is always named, never discovered; a private git directory that an agent may have written
  to is never named here (``agent_refs.py`` and ``quarantine.py`` read it without git);
- when we are root and the repository's owner is not, the process runs as the owner;
- hooks, fsmonitor, filters, pagers, transports, prompts, lazy fetches and automatic maintenance are off;
- a timeout ends the whole process group, politely first so that git removes its lock files.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import IO, BinaryIO, cast

from controller.errors import Retryable, Terminal, Unavailable

from . import git_process

# Importing GitPython looks for git; a machine without it must get our message, not a traceback.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

QUICK = 60.0
"""Seconds for commands that read or move refs."""
LONG = 900.0
"""Seconds for commands whose work grows with the repository."""
SLOWEST = 4 << 20
"""Bytes a second that a command which compresses files gets through; on 2 processors with a load of 10 it was 9 MiB."""

OLDEST_GIT = (2, 38)
"""The first git that honours ``safe.directory`` from the command line for every command."""

_NO_PROGRAM = 127  # what env answers
_OUT_OF_MEMORY = re.compile(r"out of memory|cannot allocate memory", re.IGNORECASE)

_CONFIG = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.sparseCheckout=false",
    "core.attributesFile=/dev/null",
    "core.alternateRefsCommand=",
    "core.sshCommand=false",
    "core.quotePath=false",
    "core.filesRefLockTimeout=5000",
    "core.packedRefsTimeout=5000",
    "core.bigFileThreshold=16m",
    "credential.helper=",
    "protocol.allow=never",
    "submodule.recurse=false",
    "diff.ignoreSubmodules=all",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "worktree.useRelativePaths=false",
    "advice.detachedHead=false",
)
_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_PAGER": "cat",
    "GIT_AUTHOR_NAME": "cc-orchestrator",
    "GIT_AUTHOR_EMAIL": "cc-orchestrator@localhost",
    "GIT_COMMITTER_NAME": "cc-orchestrator",
    "GIT_COMMITTER_EMAIL": "cc-orchestrator@localhost",
}


@dataclass(frozen=True, slots=True)
class Output:
    """What a finished git said; ``cut`` when it was stopped because it said more than was asked for."""

    status: int
    out: bytes
    err: str
    cut: bool = False

    @property
    def text(self) -> str:
        """Standard output without the last newline; bytes that are not UTF-8 survive a round trip."""
        return os.fsdecode(self.out).removesuffix("\n")

    def lines(self) -> list[str]:
        """Return the lines of standard output."""
        return self.text.split("\n") if self.out else []

    def fields(self) -> list[str]:
        """Return the parts of NUL-terminated output."""
        return os.fsdecode(self.out).split("\0")[:-1]


@dataclass(frozen=True, slots=True)
class Git:
    """Git bound to one git directory and one user.

    Attributes:
        git_dir: absolute; a repository's own, a worktree's administrative directory, or our quarantine.
        owner: ``(uid, gid)`` to run as.
        work_tree: absolute path of the files, for the commands that read or write files.
        umask: for what git creates.
        env: additional environment.
        memory: bytes of its own (not of files it maps) that each process may have; ``None`` = any number.
    """

    git_dir: str
    owner: tuple[int, int]
    work_tree: str | None = None
    umask: int = 0o022
    env: Mapping[str, str] = field(default_factory=dict)
    memory: int | None = None

    def at(self, git_dir: str, work_tree: str) -> Git:
        """Return the same git bound to a worktree: its administrative directory and its files."""
        return replace(self, git_dir=git_dir, work_tree=work_tree)

    def with_env(self, extra: Mapping[str, str]) -> Git:
        """Return the same git with more environment."""
        return replace(self, env={**self.env, **extra})

    def run(
        self,
        *args: str,
        stdin: bytes | IO[bytes] | None = None,
        accept: Sequence[int] = (0,),
        timeout: float = QUICK,
        pass_fds: Sequence[int] = (),
        limit: int | None = None,
    ) -> Output:
        """Run one git command to its end, or, without ``stdin``, until it has said more than ``limit`` bytes.

        Raises:
            Retryable: ``GitFailed`` when the exit status is not in ``accept``, or with ``memory`` when that was too
                little; ``GitTimeout``; ``DiskFull``.
            Terminal: ``GitNotFound``, ``RepositoryNotOwned``.
        """
        data = stdin if isinstance(stdin, bytes) else None
        process = self._start(args, subprocess.PIPE if data is not None else cast("IO[bytes] | None", stdin), pass_fds)
        try:
            if limit is None:
                out, err = process.communicate(input=data, timeout=timeout)
            else:
                out, err = git_process.listen(process, limit, timeout)
        except subprocess.TimeoutExpired as error:
            git_process.end(process)
            raise GitTimedOut(
                f"git {args[0]} in {self.git_dir} did not end within {timeout:g} s and was stopped"
            ) from error
        if limit is not None and len(out) > limit:
            return Output(0, out[:limit], "", cut=True)
        output = Output(process.returncode, out, err.decode(errors="replace").strip())
        if output.status == _NO_PROGRAM:
            raise _not_installed()
        if self.memory is not None and output.status != 0 and _OUT_OF_MEMORY.search(output.err):
            raise GitOutOfMemory(
                f"git {args[0]} in {self.git_dir} needs more than {self.memory >> 20} MiB of memory", output.err
            )
        if output.status not in accept:
            raise _failure(args, self.git_dir, output)
        return output

    def read(self, *args: str, limit: int, accept: Sequence[int] = (0,), timeout: float = LONG) -> tuple[bytes, bool]:
        """Run one command that may say any amount; returns what it says, and whether that is all of it.

        After ``limit`` bytes it is stopped.

        Raises:
            Retryable: as :meth:`run`.
        """
        output = self.run(*args, accept=accept, timeout=timeout, limit=limit)
        return output.out, not output.cut

    @contextmanager
    def feed(self, *args: str, timeout: float = LONG) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """Run a command that is written to while it runs; yields its standard input and output.

        The command has ended when the block is left; leaving by an exception stops it. ``timeout`` bounds the whole
        block: git is stopped then, so that whoever waits for it in the block finds the pipes closed.

        Raises:
            Retryable: ``GitFailed``, ``GitTimeout``.
        """
        process = self._start(args, subprocess.PIPE, ())
        source, sink = process.stdin, process.stdout
        if source is None or sink is None:  # both were asked for
            raise AssertionError
        broken, overdue = False, threading.Event()

        def stop() -> None:
            overdue.set()
            git_process.kill(process)  # and the pipes are left to whoever is using them

        limit = threading.Timer(timeout, stop)
        limit.daemon = True
        limit.start()
        try:
            try:
                yield source, sink
            except BrokenPipeError:  # git ended early: its own message says why
                broken = True
            _, err = process.communicate(timeout=timeout)
        except BaseException as error:
            git_process.end(process)
            if overdue.is_set() or isinstance(error, subprocess.TimeoutExpired):
                raise GitTimedOut(f"git {args[0]} did not end within {timeout:g} s") from error
            raise
        finally:
            limit.cancel()
        if overdue.is_set():
            raise GitTimedOut(f"git {args[0]} did not end within {timeout:g} s")
        output = Output(process.returncode, b"", err.decode(errors="replace").strip())
        if output.status != 0 or broken:
            raise _failure(args, self.git_dir, output)

    def _start(
        self, args: Sequence[str], stdin: int | IO[bytes] | None, pass_fds: Sequence[int]
    ) -> subprocess.Popen[bytes]:
        # The plain values of this package are also imported where git is neither needed nor installed.
        import git as gitpython  # noqa: PLC0415

        safe = [f"safe.directory={path}" for path in (self.git_dir, self.work_tree) if path]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            **_ENVIRONMENT,
            **self.env,
        }
        prefix, arguments = git_process.as_user(self.owner, self.git_dir)
        command = [
            *git_process.with_memory(self.memory),
            *prefix,
            # GitPython hands down our whole environment (credentials, GIT_*): start from an empty one.
            *("env", "-i", *(f"{name}={value}" for name, value in environment.items())),
            *("git", "--no-pager", f"--git-dir={self.git_dir}"),
            *((f"--work-tree={self.work_tree}",) if self.work_tree else ()),
            *(word for setting in (*_CONFIG, *safe) for word in ("-c", setting)),
            *args,
        ]
        try:
            wrapper = gitpython.Git("/").execute(
                command,
                istream=cast("BinaryIO | None", stdin),
                as_process=True,
                start_new_session=True,
                umask=self.umask,
                pass_fds=tuple(pass_fds),
                **arguments,
            )
        except gitpython.GitCommandNotFound as error:
            raise _not_installed() from error
        process = wrapper.proc
        wrapper.proc = None  # otherwise the wrapper would end the process when it is collected
        if process is None:
            raise AssertionError
        return cast("subprocess.Popen[bytes]", process)


def _not_installed() -> Terminal:
    return Terminal("GitNotFound", "git is not installed on this machine: install git 2.38 or newer")


def _failure(args: Sequence[str], git_dir: str, output: Output) -> Retryable:
    said = "; ".join(output.err.splitlines()[-2:])[:500] or f"exit status {output.status}"
    if "No space left on device" in output.err:
        return Retryable("DiskFull", f"git {args[0]} in {git_dir}: no space left on device: free some", delay=30.0)
    return GitFailed(f"git {args[0]} in {git_dir} failed: {said}", output.err)


class GitFailed(Retryable):
    """Git answered no; ``stderr`` is all it said."""

    def __init__(self, message: str, stderr: str) -> None:
        super().__init__("GitFailed", message)
        self.stderr = stderr


class GitOutOfMemory(GitFailed):
    """Git needed more memory than it was given."""


class GitTimedOut(Unavailable):
    """Git was stopped because its time was over."""

    def __init__(self, message: str) -> None:
        super().__init__("GitTimeout", message)


@cache
def check_version() -> tuple[int, ...]:
    """Return git's version; raises Terminal ``GitTooOld`` for one whose safety rules we do not know."""
    text = Git("/", (os.geteuid(), os.getegid())).run("version").text
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    version = tuple(int(part) for part in found.groups(default="0")) if found else (0,)
    if version < OLDEST_GIT:
        raise Terminal("GitTooOld", f"{text}: install git {OLDEST_GIT[0]}.{OLDEST_GIT[1]} or newer")
    return version
