"""``cco up`` as people start it, with the runtime that needs no Docker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.runtime.process.environment import Environment
from controller.runtime.process.launch import mark_of
from controller.runtime.process.processes import Identity, marked
from controller.runtime.process.runtime import ProcessRuntime

from .deadline import eventually
from .host_system import KEY, ROOT, git
from .model_container import free_port

COMMAND = (str(Path(sys.executable).parent / "cco"),)


@dataclass
class Together:
    """One installation in one folder, its one process, and the command line.

    Attributes:
        process: the newest ``cco up``.
    """

    directory: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = field(default=0)

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def log(self) -> Path:
        """What the newest ``cco up`` said."""
        return self.directory / f"up-{self.starts}.log"

    def up(self, *arguments: str) -> None:
        """Start it and wait until it says that it runs."""
        self.starts += 1
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "up", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._is_up, timeout=60, what=f"cco up runs; it said {self.log.read_text()!r}")

    def _is_up(self) -> bool:
        address = f"http://127.0.0.1:{self.environment['CCO_PORT']}/api/health"
        with urllib.request.urlopen(address, timeout=5) as answer:  # our own address
            return bool(json.load(answer)["controller"]["status"] == "ok")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; returns the exit code."""
        process = self.process
        assert process is not None
        process.send_signal(number)
        self.process = None
        return process.wait(30)

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.run_program(*COMMAND, *arguments, timeout=timeout)

    def run_program(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run another program as somebody at the same machine would."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def cco(self, *arguments: str) -> str:
        """Run the command line; returns what it printed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"cco {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def get(self, name: str) -> dict[str, Any]:
        """Return an instance as the API tells it."""
        found: dict[str, Any] = json.loads(self.cco("get", "instance", name, "-o", "json"))
        return found

    def session_becomes(self, name: str, state: str) -> None:
        """Wait until Claude is in this state."""
        eventually(
            lambda: (self.get(name)["status"]["session"] or {}).get("state") == state,
            timeout=90,
            what=f"session of {name} is {state}; {self.log.read_text()[-2000:]}",
        )

    def runtime(self) -> ProcessRuntime:
        """Return the runtime of this installation, as another process would have it."""
        installation = (self.state_dir / "installation").read_text().strip()
        environment = Environment(state_dir=self.state_dir, image="-")
        return ProcessRuntime(
            root=self.state_dir / "process", installation=installation, prefix="cco", environment=environment
        )

    def processes(self, workload_id: str) -> set[Identity]:
        """Return every living process of a workload, found by its mark."""
        return marked(mark_of(workload_id))

    def remove_everything(self) -> None:
        """End what a test left."""
        if self.process is not None:
            self.end(signal.SIGKILL)
        if (self.state_dir / "installation").exists():
            runtime = self.runtime()
            for workload in runtime.list():
                runtime.remove(workload.uid)


@contextmanager
def together(settings: Mapping[str, str]) -> Iterator[Together]:
    """Yield an installation that is not up yet; nothing of it is left after the block.

    In a folder of its own that everybody may pass: where the tests run as root, instances run as another user.
    """
    directory = Path(tempfile.mkdtemp(prefix="cco-"))
    directory.chmod(0o755)
    kept = ("PATH", "LANG", "COVERAGE_PROCESS_START")
    environment = {
        **{key: os.environ[key] for key in kept if key in os.environ},
        "HOME": str(directory),
        "ANTHROPIC_API_KEY": KEY,
        "CCO_STATE_DIR": str(directory / "state"),
        "CCO_PORT": str(free_port("127.0.0.1")),
        "CCO_MAX_INSTANCES": "0",
        "CCO_HEARTBEAT_SECONDS": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
        **settings,
    }
    system = Together(directory, environment)
    try:
        yield system
    finally:
        system.remove_everything()
        shutil.rmtree(directory)


def owner_of_repositories() -> int | None:
    """Return whom repositories of tests should belong to: instances never run as root."""
    return 1000 if os.getuid() == 0 else None


def commits(repository: Path, branch: str) -> list[str]:
    """Return the subjects of a branch's commits, newest first."""
    return git(repository, "log", "--format=%s", branch, check=False).splitlines()
