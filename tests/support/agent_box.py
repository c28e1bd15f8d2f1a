"""A real instance container around the agent under test: the product's image, run as the product runs it.

Only the controller is the tests' own (`agent_controller`) and the model is scripted. Everything made carries the
label ``cco-test=1`` and is removed at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.agent_controller import AgentController

LABEL = "cco-test=1"
TMP = "/tmp:rw,exec,nosuid,nodev,mode=1777,size=256m"  # noqa: S108 - the container's own
KEY = "sk-ant-api03-not-a-real-key-0123456789-abcdefghij"


def owner() -> tuple[int, int]:
    """Who the containers run as: the tests' user, or 1000 where that is root."""
    return (os.getuid(), os.getgid()) if os.getuid() else (1000, 1000)


def docker(*arguments: str, check: bool = True, timeout: float = 60) -> str:
    """Run the docker client; returns its output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    if check:
        assert done.returncode == 0, f"docker {' '.join(arguments[:4])}: {done.stderr}"
    return done.stdout.strip()


def git(*arguments: str, cwd: Path) -> str:
    """Run git as the tests' user."""
    configured = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", "safe.directory=*"]
    done = subprocess.run(["git", *configured, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass(slots=True)
class Workspace:
    """A repository, a worktree of it for people and a private git directory for the container."""

    root: Path
    repository: Path = field(init=False)
    worktree: Path = field(init=False)
    private: Path = field(init=False)

    def __post_init__(self) -> None:
        self.repository = self.root / "repository"
        self.worktree = self.root / "repository.worktrees" / "web"
        self.private = self.root / "private" / "git"
        self.repository.mkdir(parents=True)
        git("init", "-q", "-b", "main", cwd=self.repository)
        (self.repository / "README.md").write_text("# A repository\n")
        git("add", "-A", cwd=self.repository)
        git("commit", "-q", "-m", "Begin", cwd=self.repository)
        git("worktree", "add", "-q", "-b", "feature/x", str(self.worktree), "main", cwd=self.repository)
        clone = self.root / "private" / "clone"
        arguments = ["--shared", "--no-checkout", "--branch", "feature/x"]
        git("clone", "-q", *arguments, str(self.repository), str(clone), cwd=self.root)
        (clone / ".git").rename(self.private)
        git(f"--git-dir={self.private}", "config", "core.worktree", str(self.worktree), cwd=self.root)
        git(f"--git-dir={self.private}", "config", "user.name", "Claude", cwd=self.root)
        git(f"--git-dir={self.private}", "config", "user.email", "claude@example.invalid", cwd=self.root)
        git(f"--git-dir={self.private}", "reset", "-q", "--mixed", cwd=self.root)
        (self.root / "gitfile").write_text(f"gitdir: {self.private}\n")
        self.give_away()

    def give_away(self, uid: int | None = None) -> None:
        """Make everything belong to whom the container runs as."""
        to = (uid, uid) if uid is not None else owner()
        for folder, _, names in os.walk(self.root):
            for name in [".", *names]:
                os.chown(Path(folder) / name, *to, follow_symlinks=False)

    def mounts(self) -> list[str]:
        binds = [
            (self.worktree, self.worktree, ""),
            (self.root / "gitfile", self.worktree / ".git", ",readonly"),
            (self.private, self.private, ""),
            (self.repository / ".git" / "objects", self.repository / ".git" / "objects", ",readonly"),
        ]
        return [f"type=bind,src={source},dst={target}{mode}" for source, target, mode in binds]

    def log(self) -> list[str]:
        """Subjects of the commits on the private branch, newest first."""
        return git(f"--git-dir={self.private}", "log", "--format=%s", cwd=self.root).splitlines()


@dataclass(slots=True)
class AgentBox:
    """One instance: its folder, HOME volume, and the container of the moment."""

    image: str
    network: str
    model_url: str
    workspace: Workspace
    settings: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=lambda: {"ANTHROPIC_API_KEY": KEY})
    name: str = field(default_factory=lambda: f"cco-test-{uuid.uuid4().hex[:8]}")
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    run: Path = field(init=False)
    controller: AgentController = field(init=False)

    def __post_init__(self) -> None:
        self.run = self.workspace.root / "run"
        self.run.mkdir()
        self.run.chmod(0o755)
        self.configure()
        self.controller = AgentController(self.run, self.credentials).__enter__()
        docker("volume", "create", "--label", LABEL, f"{self.name}-home")

    def configure(self, **changes: object) -> None:
        """Write `instance.json` as the controller does."""
        self.settings = {**self.settings, **changes}
        config = {
            "schema": 1,
            "name": "web",
            "uid": self.uid,
            "attempt": 1,
            "config_hash": "hash-1",
            "workdir": str(self.workspace.worktree),
            "git_dir": str(self.workspace.private),
            "session_id": self.uid,
            "prompt": None,
            "model": None,
            "permission_mode": "bypassPermissions",
            "args": [],
            "layout": "default",
            "env": {},
            "base_url": self.model_url,
            "heartbeat_seconds": 5,
            **self.settings,
        }
        new = self.run / ".instance.json.new"
        new.write_text(json.dumps(config))
        new.chmod(0o444)
        new.replace(self.run / "instance.json")

    def start(self, *extra: str, user: str | None = None) -> None:
        """Create and start a container, as the Docker runtime does."""
        uid, gid = owner()
        mounts = [
            *self.workspace.mounts(),
            f"type=bind,src={self.run},dst=/run/cco,readonly",
            f"type=volume,src={self.name}-home,dst=/home/agent",
        ]
        arguments = [argument for mount in mounts for argument in ("--mount", mount)]
        docker(
            "run", "--detach", "--init", "--name", self.name, "--label", LABEL, "--network", self.network,
            "--user", user or f"{uid}:{gid}", "--read-only", "--cap-drop", "ALL",
            "--security-opt", "no-new-privileges", "--tmpfs", TMP,
            "--tmpfs", f"/run/secrets:rw,noexec,nosuid,nodev,mode=0700,uid={uid},gid={gid},size=1m",
            "--memory", "1g", "--memory-swap", "1g", "--pids-limit", "256", "--env", "HOME=/home/agent",
            "--env", "LANG=C.UTF-8", "--env", "TERM=xterm-256color", "--env", "CCO_INSTANCE=web",
            *arguments, *extra, self.image,
        )  # fmt: skip

    def run_aside(self, *command: str) -> str:
        """Run a program on HOME while there is no container."""
        uid, gid = owner()
        home = f"type=volume,src={self.name}-home,dst=/home/agent"
        user = ["--user", f"{uid}:{gid}", "--mount", home, "--entrypoint", command[0]]
        return docker("run", "--rm", "--label", LABEL, *user, self.image, *command[1:])

    def exec(self, *command: str, check: bool = True) -> str:
        """Run a program in the container."""
        return docker("exec", self.name, *command, check=check)

    def screen(self) -> str:
        return self.exec("tmux", "capture-pane", "-p", "-t", "cc-orchestrator-web:claude", check=False)

    def logs(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def wait(self, seconds: float = 20) -> int:
        """Wait until the container ends; returns its exit status."""
        return int(docker("wait", self.name, timeout=seconds))

    def remove(self) -> None:
        """Remove the container, not its HOME; idempotent."""
        docker("rm", "--force", self.name, check=False)

    def close(self) -> None:
        """Remove everything; idempotent."""
        self.controller.close()
        self.remove()
        docker("volume", "rm", "--force", f"{self.name}-home", check=False)
