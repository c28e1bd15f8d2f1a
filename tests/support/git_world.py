"""A user's repository, a state directory and an agent at work in its private git directory: real git, no Docker.

The agent's commands run as the instance's user on its own git directory, which is what a container does; only the
mounts are missing. The host's view of the worktree's ``.git`` file is the repository's.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from controller.workspace import GitWorkspaces
from controller.workspace.types import Collected, Unsaved, WorkspaceRef, WorkspaceState

USER = 1000
OWNERS = [0, USER] if os.geteuid() == 0 else [os.geteuid()]
"""Uids a repository can belong to where the tests run."""

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "LC_ALL": "C.UTF-8",
    # What people and agents do here need not survive a power failure; what the product does has to.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.fsync",
    "GIT_CONFIG_VALUE_0": "none",
}


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return path to mode, owner and content of all in a folder."""
    found: dict[str, tuple[int, int, bytes]] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent) / name
            info = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
            found[str(path)] = (info.st_mode, info.st_uid, content)
    return found


class GitWorld:
    """One folder with everything in it.

    Attributes:
        base: the folder; every user may enter it.
        owner: uid of the repository.
        agent_owner: uid of the instance: the repository's, or 1000 where that is root.
        repository: the user's repository, with one commit on ``main``.
    """

    def __init__(self, base: Path, owner: int, *, directory: str = "repository") -> None:
        self.base = base
        self.owner = owner
        self.agent_owner = owner or USER
        os.chown(base, owner, owner)
        self.state_dir = base / "state"
        self.state_dir.mkdir(mode=0o711)
        self.workspaces = GitWorkspaces(self.state_dir)
        self.repository = base / directory
        self.repository.mkdir()
        os.chown(self.repository, owner, owner)
        self.user("init", "-q", "-b", "main", "--template=")
        self.write(self.repository / "README.md", "hello\n", owner)
        self.user("add", "README.md")
        self.user("commit", "-qm", "Start")

    def ref(self, instance: str = "web", **changes: object) -> WorkspaceRef:
        """Return a workspace of a new instance."""
        values = WorkspaceRef(
            instance=instance,
            uid=str(uuid.uuid4()),
            repository=str(self.repository),
            branch=instance,
            base_branch=None,
            worktree=str(self.base / f"{self.repository.name}.worktrees" / instance),
            private=str(self.state_dir / "instances" / instance / "git"),
            attempt=1,
            owner=(self.agent_owner, self.agent_owner),
        )
        return replace(values, **changes)  # type: ignore[arg-type]  # the caller's keywords are the fields

    def create(self, ref: WorkspaceRef) -> None:
        """Make the workspace and let the agent's commands reach its git directory, as a mount would."""
        self.workspaces.create(ref)
        for folder in (self.state_dir / "instances", Path(ref.private).parent):
            folder.chmod(0o711)

    def made(self, instance: str = "web", **changes: object) -> WorkspaceRef:
        """Return a workspace that has been made."""
        ref = self.ref(instance, **changes)
        self.create(ref)
        return ref

    def user(self, *args: str, cwd: Path | str | None = None, check: bool = True) -> str:
        """Run git as the repository's owner, as a person does."""
        return self._run(("git", *args), cwd or self.repository, self.owner, check=check)

    def user_input(self, text: str, *args: str) -> str:
        """Run git as the repository's owner with something to read."""
        return self._run(("git", *args), self.repository, self.owner, text=text)

    def agent(self, ref: WorkspaceRef, *args: str, check: bool = True) -> str:
        """Run git as the agent does in its container."""
        command = ("git", f"--git-dir={ref.private}", f"--work-tree={ref.worktree}", *args)
        return self._run(command, ref.worktree, self.agent_owner, check=check)

    def agent_writes(self, ref: WorkspaceRef, name: str, content: str | bytes) -> Path:
        """Write a file of the worktree as the agent."""
        path = Path(ref.worktree) / name
        self.write(path, content, self.agent_owner)
        return path

    def agent_puts_object(self, ref: WorkspaceRef, name: str, raw: bytes) -> None:
        """Put a file as the agent where git looks for the loose object of this name."""
        self.write(Path(ref.private) / "objects" / name[:2] / name[2:], raw, self.agent_owner)

    def agent_commits(self, ref: WorkspaceRef, name: str = "file.txt", content: str | None = None) -> str:
        """Let the agent change one file and commit; returns the commit."""
        self.agent_writes(ref, name, content if content is not None else uuid.uuid4().hex)
        self.agent(ref, "add", "--all", ".")
        self.agent(ref, "commit", "-qm", f"Change {name}")
        return self.agent(ref, "rev-parse", "HEAD")

    def agent_commits_repository(self, ref: WorkspaceRef, name: str) -> str:
        """Let the agent make a repository with ``code.txt`` in its worktree and commit it as a link; returns that."""
        self.agent_writes(ref, f"{name}/code.txt", "code")
        inside = ("-C", f"{ref.worktree}/{name}", "--git-dir=.git", "--work-tree=.")
        self.agent(ref, *inside, "init", "-q", "--template=")
        self.agent(ref, *inside, "add", "code.txt")
        self.agent(ref, *inside, "commit", "-qm", "Inner")
        return self.agent_commits(ref, "outer.txt")

    def user_commits(self, branch: str = "main") -> str:
        """Commit to a branch as a person elsewhere does, without any worktree; returns the commit."""
        commit = self.user("commit-tree", "-p", branch, "-m", f"By a person {uuid.uuid4()}", f"{branch}^{{tree}}")
        self.user("update-ref", f"refs/heads/{branch}", commit)
        return commit

    def head(self, ref: WorkspaceRef) -> str:
        """Return the user's branch of the instance."""
        return self.user("rev-parse", "--verify", f"refs/heads/{ref.branch}")

    def collect(self, ref: WorkspaceRef) -> Collected:
        """Bring the agent's commits home."""
        return self.workspaces.collect(ref)

    def inspect(self, ref: WorkspaceRef) -> WorkspaceState:
        """Look at everything."""
        return self.workspaces.inspect(ref, deep=True)

    def unsaved(self, ref: WorkspaceRef) -> Unsaved:
        """Tell whether there is unsaved work."""
        return self.inspect(ref).unsaved

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Return the repository's refs."""
        lines = self.user("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
        return dict(line.rsplit(" ", 1) for line in lines)

    def files_of(self, commit: str) -> dict[str, str]:
        """Return path to mode and object of all files of a commit."""
        lines = self.user("ls-tree", "-r", "-z", commit).split("\0")[:-1]
        return {path: about for about, _, path in (line.partition("\t") for line in lines)}

    def reachable(self, commit: str) -> bool:
        """Tell whether some ref of the user's repository has the commit."""
        return bool(self.user("for-each-ref", "--contains", commit, check=False))

    def write(self, path: Path, content: str | bytes, owner: int) -> None:
        """Write a file for somebody, with the folders above it."""
        missing = [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        for made in (path, *missing):
            os.chown(made, owner, owner)

    def _run(
        self,
        command: tuple[str, ...],
        cwd: Path | str,
        uid: int,
        *,
        check: bool = True,
        text: str = "",
    ) -> str:
        drop = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups") if os.geteuid() == 0 != uid else ()
        done = subprocess.run(
            (*drop, *command),
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "HOME": str(self.base), **_IDENTITY},
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            input=text,
            timeout=60,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout.removesuffix("\n")


@contextmanager
def git_world(owner: int, *, name: str = "world", directory: str = "repository") -> Iterator[GitWorld]:
    """Yield a world in a folder that every user may enter (pytest's own may not be entered by others)."""
    base = Path(tempfile.mkdtemp(prefix=f"cco-{re.sub(r'[^ -~]', '', name)[:40]}-"))
    base.chmod(0o755)
    try:
        yield GitWorld(base, owner, directory=directory)
    finally:
        shutil.rmtree(base)
