"""The product as processes on this machine: controller and server, real Docker, git and Claude Code.

The quickest way to the whole: what ``docker compose up`` runs in two containers runs here in two processes. The
command line is the real one, in a process of its own. ``tests/e2e/test_compose.py`` does it the other way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .deadline import eventually
from .model_container import Model, free_port

ROOT = Path(__file__).parents[2]
KEY = "sk-ant-test-0123456789abcdef0123456789abcdef"


def git(repository: Path | str, *arguments: str, check: bool = True) -> str:
    """Run git as a user would."""
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(repository), *arguments],
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


def make_repository(path: Path, *, owner: int | None = None) -> Path:
    """Make a small repository with one commit."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--initial-branch", "main")
    git(path, "config", "user.name", "A. Person")
    git(path, "config", "user.email", "person@example.org")
    (path / "README.md").write_text("# Shop\n", encoding="utf-8")
    git(path, "add", "README.md")
    git(path, "commit", "--quiet", "--message", "Begin")
    if owner is not None:
        for each in [path, *path.rglob("*")]:
            os.chown(each, owner, owner, follow_symlinks=False)
    return path


@dataclass
class System:
    """A running installation.

    Attributes:
        directory: everything of this installation lies below it.
        prefix: first part of its containers' names.
    """

    directory: Path
    prefix: str
    port: int
    model: Model
    environment: dict[str, str]

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of our processes; its output goes to a file below ``directory``."""
        log = (self.directory / f"{module}.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def logs(self) -> str:
        """Return what our processes said."""
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(self.directory.glob("*.log")))

    def cco(self, *arguments: str, check: bool = True, stdin: str | None = None, timeout: float = 120) -> str:
        """Run the command line; returns its standard output."""
        done = self.run_cco(*arguments, stdin=stdin, timeout=timeout)
        assert not check or done.returncode == 0, f"cco {' '.join(arguments)}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def run_cco(
        self, *arguments: str, stdin: str | None = None, timeout: float = 120, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line and return all it did."""
        return subprocess.run(
            [str(Path(sys.executable).parent / "cco"), *arguments],
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd or ROOT,
            check=False,
        )

    def get(self, name: str) -> dict[str, Any]:
        """Return an instance as the API tells it."""
        found: dict[str, Any] = json.loads(self.cco("get", "instance", name, "-o", "json"))
        return found

    def condition(self, name: str, type_: str = "Ready") -> dict[str, Any]:
        """Return one condition of an instance."""
        conditions = self.get(name)["status"]["conditions"]
        found: dict[str, Any] = next(each for each in conditions if each["type"] == type_)
        return found

    def wait(self, name: str, wish: str, *, timeout: float = 60) -> None:
        """Wait as a user would; shows why when it does not come."""
        done = self.run_cco("wait", f"instance/{name}", f"--for={wish}", f"--timeout={timeout}s", timeout=timeout + 30)
        assert done.returncode == 0, f"{done.stderr}\n{self.cco('describe', 'instance', name, check=False)}"

    def state_becomes(self, name: str, *states: str, timeout: float = 60) -> None:
        """Wait until Claude's session is in one of the states."""
        eventually(
            lambda: (self.get(name)["status"]["session"] or {}).get("state") in states,
            timeout=timeout,
            what=f"session of {name} is {' or '.join(states)}",
        )

    def container(self, name: str) -> str:
        """Return the name of the instance's container."""
        found: str = self.get(name)["status"]["workload"]["name"]
        return found

    def docker_exec(self, name: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run something inside an instance's container, as its user."""
        return subprocess.run(
            ["docker", "exec", self.container(name), *argv], capture_output=True, text=True, timeout=60, check=check
        )

    def screen(self, name: str) -> str:
        """Return what a person sees in Claude's window."""
        return self.docker_exec(name, "tmux", "capture-pane", "-p", "-t", f"=cc-orchestrator-{name}:claude").stdout

    def remove_everything(self) -> None:
        """Remove all containers and volumes of this installation; for the end of a test only."""
        for kind, names in (("container", ["ps", "-aq"]), ("volume", ["volume", "ls", "-q"])):
            listed = [*names, "--filter", f"name=^{self.prefix}-" if kind == "volume" else f"name=^/{self.prefix}-"]
            found = subprocess.run(["docker", *listed], capture_output=True, text=True, timeout=60, check=True)
            if found.stdout.split():
                verb = ["rm", "-f"] if kind == "container" else ["volume", "rm", "-f"]
                subprocess.run(["docker", *verb, *found.stdout.split()], capture_output=True, timeout=120, check=True)


def stop_process(process: subprocess.Popen[bytes], *, timeout: float = 15) -> int:
    """End a process politely; it must obey."""
    process.terminate()
    return process.wait(timeout)


def environment_for(directory: Path, prefix: str, model: Model, port: int) -> dict[str, str]:
    """Return what our processes and the command line find in their environment; nothing of the tester's own."""
    kept = ("PATH", "HOME", "LANG", "DOCKER_HOST", "COVERAGE_PROCESS_START")
    return {
        **{key: os.environ[key] for key in kept if key in os.environ},
        "ANTHROPIC_BASE_URL": model.url,
        "CCO_STATE_DIR": str(directory / "state"),
        "CCO_CONTAINER_PREFIX": prefix,
        "CCO_PORT": str(port),
        "CCO_MAX_INSTANCES": "0",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


@contextmanager
def running_system(
    directory: Path, prefix: str, model: Model, settings: Sequence[tuple[str, str]] = ()
) -> Iterator[System]:
    """Run controller and server for the length of the block; nothing of theirs is left after it."""
    port = free_port("127.0.0.1")
    environment = {
        **environment_for(directory, prefix, model, port),
        "ANTHROPIC_API_KEY": KEY,
        "CCO_HEARTBEAT_SECONDS": "1",
        **dict(settings),
    }
    system = System(directory, prefix, port, model, environment)
    processes = []
    try:
        processes = [system.start("controller", "run"), system.start("ui.server")]
        answers = "controller:  ok"  # whatever else may be wrong, as some tests want it
        eventually(lambda: answers in system.cco("status", check=False), timeout=60, what="the system answers")
        yield system
    finally:
        for process in reversed(processes):
            stop_process(process)
        system.remove_everything()
