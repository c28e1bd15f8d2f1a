"""Controller and server of an installation as processes of this machine: started, killed, ended and watched.

``world/running.py`` runs them on the machine's engine, ``engine_world.py`` on one that a scenario may break. What is
declared in them is ``instances.py``.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.client import Client
from support.deadline import eventually
from support.host_system import KEY, System, environment_for
from support.model_container import Model, free_port

from .facts import run
from .recorders import GitLog, Quiet, Requests, cpu_share

PATIENCE = 90.0
_ARGUMENTS = {"controller": ("run",), "ui.server": ()}


@dataclass
class ControllerAndServer:
    """The two processes.

    Attributes:
        log: of every git they start.
        processes: those that were started, by the name of their module.
    """

    system: System
    log: GitLog
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, kw_only=True)

    def start(self, *modules: str) -> None:
        """Start both, or one of them, and wait until both answer."""
        for module in modules or tuple(_ARGUMENTS):
            self.processes[module] = self.system.start(module, *_ARGUMENTS[module])
        self.until(self._answers_or_ended, "the system answers")
        for module in self.processes:
            self.pid(module)

    def _answers_or_ended(self) -> bool:
        if any(process.poll() is not None for process in self.processes.values()):
            return True
        return bool(self.health()["controller"]["status"] == "ok")

    def kill(self, *modules: str) -> None:
        """Kill both, or one of them, as a power failure does."""
        for module in modules or tuple(self.processes):
            process = self.processes.pop(module)
            process.kill()
            process.wait(30)

    def stop(self) -> None:
        """End both politely."""
        for process in reversed(self.processes.values()):
            with suppress(ProcessLookupError):
                process.terminate()
            process.wait(60)
        self.processes.clear()

    def pid(self, module: str) -> int:
        """Return the process of a module, which must live."""
        process = self.processes[module]
        assert process.poll() is None, f"{module} ended with {process.returncode}\n{self.said()}"
        return process.pid

    @property
    def controller(self) -> int:
        """The controller's process."""
        return self.pid("controller")

    def client(self, timeout: float = 30.0) -> Client:
        token = (self.system.state_dir / "token").read_text().strip()
        return Client(self.system.address, token, timeout=timeout)

    def health(self) -> dict[str, Any]:
        """Return what the server says of itself and the controller."""
        with self.client() as client:
            found: dict[str, Any] = client.health().model_dump(mode="json")
        return found

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run the docker client on the engine of this installation; returns its output."""
        return run(["docker", *arguments], check=check).decode(errors="replace").strip()

    def said(self) -> str:
        """Return what our processes said last."""
        return self.system.logs()[-6000:]

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Add what our processes said to what fails in the block."""
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from error

    def until(self, look: Callable[[], Any], what: str, *, timeout: float = PATIENCE) -> Any:  # noqa: ANN401  # as the look
        """Wait until it is true; tells what our processes said when that does not come."""
        with self.telling():
            return eventually(look, timeout=timeout, what=what, pause=0.1)

    def at_rest(self, seconds: float, requests: Requests | None = None) -> tuple[float, list[str]]:
        """Return the controller's share of a core, and what was written, over some seconds."""
        with closing(Quiet(self.system.state_dir / "state.db", requests, self.log)) as quiet:
            quiet.begin()
            cpu = cpu_share(self.controller, seconds)
            return cpu, quiet.writes()


def logged_system(folder: Path, kind: str, model: Model, settings: Mapping[str, str]) -> tuple[System, GitLog]:
    """Return an installation below the folder, which is not started yet, and the log of every git that it will start.

    Args:
        kind: begins the names of its containers.
        settings: variables of the environment beside the usual ones.
    """
    log = GitLog(folder / "bin")
    port, prefix = free_port("127.0.0.1"), f"{kind}{secrets.token_hex(3)}"
    environment = {
        **environment_for(folder, prefix, model, port),
        "PATH": f"{log.folder}:{os.environ['PATH']}",
        "ANTHROPIC_API_KEY": KEY,
        "CCO_HEARTBEAT_SECONDS": "1",
        **settings,
    }
    return System(folder, prefix, port, model, environment), log
