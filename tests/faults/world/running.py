"""Controller and server as processes of an installation, with what watches them; ``installation.py`` is the way in."""

from __future__ import annotations

import difflib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.client import Client
from faults.facts import INSTALLATION, UID, read_facts, run
from faults.real_world import BASE_IMAGE, IMAGES
from faults.recorders import EventRecorder, GitLog, Quiet, Requests, cpu_share, overlaps, starts
from faults.verify import Measured
from support.deadline import eventually
from support.host_system import KEY, System, environment_for
from support.model_container import Model, free_port

LIGHT, CLIENT = IMAGES[0], BASE_IMAGE
PATIENCE = 90.0
RESYNC_SECONDS = 2.0
REST_SECONDS = 2.5
"""Longer than a resync."""
LOOKS = 3
"""The first may still see what comes of the last act, such as Claude's last sign of activity; rest is rest."""


@dataclass
class Installation:
    """Controller and server with what watches them.

    Attributes:
        environment: more variables for both.
        strangers: names, in a baseline, of what is on the engine and not ours.
    """

    system: System
    requests: Requests
    log: GitLog
    events: EventRecorder
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    installation: str = ""

    def start(self, *modules: str) -> None:
        """Start both, or one of them, and wait until both answer."""
        for module in modules or ("controller", "ui.server"):
            self.processes[module] = self.system.start(module, *(["run"] if module == "controller" else []))
        self.until(lambda: self.health()["controller"]["status"] == "ok", "the system answers")
        self.installation = read_facts(self.system.state_dir).installation

    def kill(self, *modules: str) -> None:
        """Kill -9."""
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

    @property
    def controller(self) -> int:
        """The controller's process."""
        process = self.processes["controller"]
        assert process.poll() is None, f"the controller ended with {process.returncode}\n{self.system.logs()[-4000:]}"
        return process.pid

    def client(self, timeout: float = 30.0) -> Client:
        token = (self.system.state_dir / "token").read_text().strip()
        return Client(self.system.address, token, timeout=timeout)

    def health(self) -> dict[str, Any]:
        with self.client() as client:
            found: dict[str, Any] = client.health().model_dump(mode="json")
        return found

    def until(self, look: Callable[[], Any], what: str, *, timeout: float = PATIENCE) -> Any:  # noqa: ANN401  # as the look
        """Wait until it is true; tells what our processes said when that does not come."""
        try:
            return eventually(look, timeout=timeout, what=what, pause=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.system.logs()[-6000:]}") from error

    def containers(self) -> list[dict[str, Any]]:
        """Return what the engine says of every container of this installation."""
        label = f"label={INSTALLATION}={self.installation}"
        names = run(["docker", "ps", "-aq", "--no-trunc", "--filter", label]).decode().split()
        found: list[dict[str, Any]] = json.loads(run(["docker", "container", "inspect", *names])) if names else []
        return found

    def happened(self, *actions: str) -> list[tuple[str, str]]:
        """Return container events of this installation so far, as (action, instance's uid), in order."""
        self.events.catch_up()
        return [
            (each["Action"], each["Actor"]["Attributes"][UID])
            for each in self._ours()
            if not actions or each["Action"] in actions
        ]

    def measured(self, *, rest: bool, seconds: float = REST_SECONDS) -> Measured:
        """Return what the recorders know; with ``rest``, also what happens while nothing is to be done for so long."""
        cpu, writes = None, None
        if rest:
            with closing(Quiet(self.system.state_dir / "state.db", self.requests, self.log)) as quiet:
                for _ in range(LOOKS):
                    before = self._told()
                    quiet.begin()
                    cpu = cpu_share(self.controller, seconds)
                    writes = quiet.writes()
                    if not writes:
                        break
                    writes += difflib.unified_diff(before, self._told(), "before", "after", n=0, lineterm="")
        self.events.catch_up()
        ours = self._ours()
        watched = "SQL, Docker and git watched over a resync"
        return Measured(overlaps({}, ours), starts(ours), cpu=cpu, writes=writes, watched=watched)

    def _told(self) -> list[str]:
        """Return all statuses, a line for each field, so that a write at rest can be named."""
        rows = read_facts(self.system.state_dir).instances()
        return json.dumps([[row.name, row.status] for row in rows], indent=1, sort_keys=True).splitlines()

    def _ours(self) -> list[dict[str, Any]]:
        """Return the events of our containers: others use this engine, too."""
        return [
            each
            for each in list(self.events.events)
            if each["Type"] == "container" and each["Actor"]["Attributes"].get(INSTALLATION) == self.installation
        ]

    def clean(self) -> None:
        """Remove what this installation has on the engine."""
        label = f"label={INSTALLATION}={self.installation}"
        for kind, listing in (("container", ["ps", "-aq"]), ("volume", ["volume", "ls", "-q"])):
            found = run(["docker", *listing, "--filter", label]).decode().split()
            if found:
                run(["docker", kind, "rm", "-f", *found], check=False)
        run(["docker", "rm", "-f", f"stranger-{self.system.prefix}"], check=False)
        run(["docker", "volume", "rm", "-f", f"stranger-{self.system.prefix}"], check=False)
        self.system.remove_everything()


@contextmanager
def installation(model: Model, settings: Mapping[str, str] | None = None) -> Iterator[Installation]:
    """Run an installation for the length of the block, in a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="cco-world-"))
    folder.chmod(0o755)
    prefix, port = f"ccow{secrets.token_hex(3)}", free_port("127.0.0.1")
    log = GitLog(folder / "bin")
    stranger = f"stranger-{prefix}"
    run(["docker", "create", "--label", "cco-test=1", "--name", stranger, LIGHT])
    run(["docker", "volume", "create", "--label", "cco-test=1", stranger])
    with Requests(folder) as requests, EventRecorder("cco-test=nobody") as events:
        environment = {
            **environment_for(folder, prefix, model, port),
            "PATH": f"{log.folder}:{os.environ['PATH']}",
            "DOCKER_HOST": requests.url,
            "ANTHROPIC_API_KEY": KEY,
            "CCO_HEARTBEAT_SECONDS": "1",
            "CCO_RESYNC_SECONDS": f"{RESYNC_SECONDS:g}",
            "CCO_INSTANCE_IMAGE": LIGHT,
            **(settings or {}),
        }
        made = Installation(System(folder, prefix, port, model, environment), requests, log, events)
        made.strangers = (f"volume {stranger}", stranger)
        try:
            made.start()
            yield made
        finally:
            made.stop()
            made.clean()
    shutil.rmtree(folder)
