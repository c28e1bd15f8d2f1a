"""The product's arm: controller and server as processes of their own, reached as every client reaches them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.client import Client, ClientError
from controller.resources import Instance, InstanceManifest, RepositoryManifest, find_condition
from support.host_system import KEY, System, environment_for, stop_process
from support.model_container import Model, free_port

from .processes import cpu_seconds
from .watcher import Watcher, is_gone, is_ready

PATIENCE = 300.0
NOBODY = Model("http://127.0.0.1:9")
"""Where the stand-in for Claude Code would find its model, if it looked for one."""


@dataclass
class Product:
    """One installation that runs."""

    system: System
    client: Client
    controller: subprocess.Popen[bytes]
    server: subprocess.Popen[bytes]
    controller_arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def pids(self) -> tuple[int, int]:
        """The process of controller and server."""
        return self.controller.pid, self.server.pid

    def cpu(self) -> float:
        """Return the CPU seconds of both so far."""
        return cpu_seconds(self.pids)

    def register(self, path: Path | str, name: str = "shop") -> None:
        """Register a repository and wait until it is ready."""
        manifest = {"metadata": {"name": name}, "spec": {"path": str(path)}}
        self.client.create_repository(RepositoryManifest.model_validate(manifest))
        deadline = time.monotonic() + PATIENCE
        while True:
            ready = find_condition(self.client.get_repository(name).status.conditions, "Ready")
            if ready is not None and ready.status == "True":
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"repository not ready: {ready}\n{self.system.logs()[-2000:]}")
            time.sleep(0.05)

    def declare(self, names: Sequence[str], **spec: object) -> float:
        """POST instances one after the other; returns when (monotonic seconds) the first one was sent."""
        manifests = [
            InstanceManifest.model_validate({"metadata": {"name": name}, "spec": {"repository": "shop", **spec}})
            for name in names
        ]
        began = time.monotonic()
        for manifest in manifests:
            self.client.create_instance(manifest)
        return began

    def start(self, names: Sequence[str], **spec: object) -> float:
        """Declare instances; returns the seconds from the first POST to the last Ready that a watch client sees."""
        with Watcher(self.client) as watcher:
            began = self.declare(names, **spec)
            seen = watcher.until(names, is_ready, timeout=PATIENCE)
        return max(seen.values()) - began

    def delete(self, names: Sequence[str]) -> float:
        """Delete instances; returns the seconds from the first DELETE to the last one seen to be gone."""
        with Watcher(self.client) as watcher:
            began = time.monotonic()
            for name in names:
                self.client.delete_instance(name)
            seen = watcher.until(names, is_gone, timeout=PATIENCE)
        return max(seen.values()) - began

    def instances(self) -> list[Instance]:
        """Return all of them."""
        return self.client.list_instances()

    def kill_controller(self) -> None:
        """End the controller without warning."""
        self.controller.kill()
        self.controller.wait(30)

    def start_controller(self) -> None:
        """Start another one; returns at once."""
        self.controller = self.system.start(*self.controller_arguments)

    def answers(self) -> bool:
        """Tell whether server and controller answer."""
        try:
            health = self.client.health()
        except ClientError:
            return False
        return all(part.status == "ok" for part in _parts(health))


def _parts(health: Any) -> list[Any]:  # noqa: ANN401  # the fields of whatever parts there are
    return [part for part in vars(health).values() if hasattr(part, "status")]


@contextmanager
def running_product(
    directory: Path, prefix: str, environment: Mapping[str, str], controller: Sequence[str] = ("controller", "run")
) -> Iterator[Product]:
    """Run an installation for the length of the block; its containers are left to the label's cleaner.

    Args:
        directory: everything of it lies below.
        prefix: of its containers' names, and the network's name.
        environment: further settings, as variables.
        controller: module and arguments of the controller.
    """
    directory.mkdir(mode=0o755, parents=True)
    port = free_port("127.0.0.1")
    values = {
        **environment_for(directory, prefix, NOBODY, port),
        "ANTHROPIC_API_KEY": KEY,
        "CCO_NETWORK": prefix,
        "CCO_REQUESTS_PER_SECOND": "0",
        "CCO_LOG_LEVEL": "WARNING",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        **environment,
    }
    system = System(directory, prefix, port, NOBODY, values)
    with ExitStack() as stack:
        first = system.start(*controller)
        second = system.start("ui.server")
        token_file = system.state_dir / "token"
        deadline = time.monotonic() + 60
        while not token_file.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no token\n{system.logs()[-2000:]}")
            time.sleep(0.05)
        client = stack.enter_context(Client(system.address, token_file.read_text().strip(), timeout=30.0))
        product = Product(system, client, first, second, tuple(controller))
        stack.callback(lambda: stop_process(product.controller, timeout=60))
        stack.callback(stop_process, second, timeout=60)
        while not product.answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"does not answer\n{system.logs()[-2000:]}")
            time.sleep(0.05)
        yield product
