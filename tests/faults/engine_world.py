"""An installation on an engine of its own: real controller, server, git and instances; what breaks is the engine.

Where a scenario is about the conversation, the instances run the real client with the scripted model; else a stand-in
for agent and Claude that starts at once (``light_agent.py``). Every scenario ends with :meth:`EngineWorld.verify`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from api.client import Client
from controller.resources import (
    Condition,
    ConditionStatus,
    Instance,
    InstanceManifest,
    InstanceSpec,
    ManifestMetadata,
    find_condition,
)
from support.deadline import eventually
from support.host_system import KEY, System, environment_for, make_repository
from support.model_container import Model, free_port
from support.own_engine import OwnEngine

from .baseline import Baseline, record
from .engine_recording import EngineRecording
from .facts import read_facts
from .real_world import IMAGES
from .recorders import GitLog, Quiet, cpu_share
from .verify import Measured, check

PATIENCE = 90.0
RESYNC_SECONDS = 4.0
REST_SECONDS = 5.0
"""Longer than a resync."""
NOBODY = Model("http://192.0.2.1:9")


@dataclass
class EngineWorld:
    """One installation.

    Attributes:
        environment: of controller and server.
        recording: of the engine's events.
    """

    system: System
    engine: OwnEngine
    recording: EngineRecording
    log: GitLog
    repository: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    baseline: Baseline = field(default_factory=Baseline)

    # The system -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start controller and server and wait until both answer."""
        for module, arguments in (("controller", ["run"]), ("ui.server", [])):
            self.processes[module] = self.system.start(module, *arguments)
        self.until(self._answers_or_ended, "the system answers")
        assert self.controller

    def _answers_or_ended(self) -> bool:
        if any(process.poll() is not None for process in self.processes.values()):
            return True
        return bool(self.health()["controller"]["status"] == "ok")

    def kill(self) -> None:
        """Kill both, as a power failure does."""
        for process in self.processes.values():
            process.kill()
            process.wait(30)
        self.processes.clear()

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

    def client(self) -> Client:
        return Client(self.system.address, (self.system.state_dir / "token").read_text().strip(), timeout=30.0)

    def health(self) -> dict[str, Any]:
        """Return what the server says of itself and the controller."""
        with self.client() as client:
            found: dict[str, Any] = client.health().model_dump(mode="json")
        return found

    # The fleet ------------------------------------------------------------------------------------------------

    def spawn(self, *names: str, **spec: object) -> None:
        """Declare instances."""
        with self.client() as client:
            for name in names:
                wanted = {"repository": self.repository.name, "permission_mode": "bypassPermissions", **spec}
                wanted.setdefault("resources", {"cpus": 0.5, "memory": "1Gi"})
                made = InstanceSpec.model_validate(wanted)
                client.create_instance(InstanceManifest(metadata=ManifestMetadata(name=name), spec=made))

    def get(self, name: str) -> Instance:
        with self.client() as client:
            return client.get_instance(name)

    def patch(self, name: str, **spec: object) -> None:
        """Change an instance's spec."""
        with self.client() as client:
            client.patch_instance(name, {"spec": spec})

    def ready(self, name: str) -> Condition:
        """Return the condition ``Ready`` of what was declared last."""
        instance = self.get(name)
        found = find_condition(instance.status.conditions, "Ready")
        assert found is not None, f"{name} was not looked at yet"
        assert instance.status.observed_generation == instance.metadata.generation, f"{name}: an older generation"
        return found

    def message(self, name: str, type_: str) -> str:
        """Return the message of one condition."""
        found = find_condition(self.get(name).status.conditions, type_)
        return found.message if found is not None else ""

    def until(self, look: Callable[[], Any], what: str, *, timeout: float = PATIENCE) -> Any:  # noqa: ANN401  # as the look
        """Wait until it is true; tells what the controller said when that does not come."""
        try:
            return eventually(look, timeout=timeout, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.system.logs()[-6000:]}\n{self.engine.said()}") from error

    def until_ready(self, *names: str, timeout: float = PATIENCE) -> None:
        for name in names:
            self.until(partial(self._is_up, name), f"{name} is ready", timeout=timeout)

    def _is_up(self, name: str) -> bool:
        ready = self.ready(name)
        assert ready.status is ConditionStatus.TRUE, ready
        return True

    def until_unknown(self, name: str) -> None:
        """Wait until the instance is said to be in a state that nobody knows, and why."""

        def is_unknown() -> bool:
            ready = self.ready(name)
            assert (ready.status, ready.reason) == (ConditionStatus.UNKNOWN, "RuntimeUnavailable"), ready
            assert self.engine.url in ready.message, ready
            return True

        self.until(is_unknown, f"{name} is unknown")

    def until_reason(self, reason: str, *names: str, timeout: float = PATIENCE) -> None:
        """Wait until the instances are not ready for this reason."""
        for name in names:
            self.until(partial(self._has_reason, name, reason), f"{name} is {reason}", timeout=timeout)

    def _has_reason(self, name: str, reason: str) -> bool:
        ready = self.ready(name)
        assert ready.reason == reason, ready
        return True

    def container(self, name: str) -> str:
        workload = self.get(name).status.workload
        assert workload is not None
        return workload.name

    def inspect(self, name: str, kind: str = "container") -> dict[str, Any]:
        """Return what the engine says of something."""
        found: dict[str, Any] = json.loads(self.engine.docker(kind, "inspect", name))[0]
        return found

    def lives(self, *names: str) -> dict[str, tuple[str, int, str]]:
        """Return container, first process and time of the start of each instance: what a restart would change."""
        looked = {name: self.inspect(self.container(name)) for name in names}
        return {name: (it["Id"], it["State"]["Pid"], it["State"]["StartedAt"]) for name, it in looked.items()}

    def in_box(self, name: str, script: str) -> str:
        """Do something as the agent, in its container."""
        workspace = self.get(name).status.workspace
        assert workspace is not None
        return self.engine.docker("exec", "--workdir", workspace.path, self.container(name), "sh", "-ec", script)

    def commit(self, name: str, subject: str) -> None:
        """Commit something in an instance, and leave something uncommitted."""
        self.in_box(
            name, f"echo {subject} >>work.txt; git add work.txt; git commit -qm '{subject}'; echo half >draft.txt"
        )

    def ask(self, name: str, prompt: str) -> list[str]:
        """Send a prompt to the real client; returns the prompts of the whole conversation that the model got."""
        self.system.cco("send", name, prompt)
        said = prompt.rpartition(" ")[2]
        self.until(lambda: any(said in each for each in self.system.model.prompts()), "the model got the prompt")
        self.system.state_becomes(name, "idle", timeout=PATIENCE)
        found: list[str] = next(
            each["prompts"] for each in reversed(self.system.model.requests()) if said in str(each["prompt"])
        )
        return found

    def conversation(self, name: str) -> str:
        """Return the identifier of Claude's session."""
        session = self.get(name).status.session
        assert session is not None
        assert session.session_id is not None
        return session.session_id

    def attempts(self, *names: str) -> dict[str, tuple[int, str]]:
        """Return which container each has: what a deletion would change."""
        found = {name: self.get(name).status for name in names}
        return {name: (it.attempt, it.workload.id) for name, it in found.items() if it.workload is not None}

    def image_id(self, name: str) -> str | None:
        """Return which image an instance is said to run."""
        workload = self.get(name).status.workload
        return workload.image_id if workload is not None else None

    def restarts(self, *names: str) -> dict[str, int]:
        """Return how often each was started again."""
        return {name: self.get(name).status.restarts for name in names}

    # What must hold -------------------------------------------------------------------------------------------

    def remember(self) -> None:
        """Record what must survive, and what is not ours; the engine makes its own networks anew at each start."""
        self.baseline = record(read_facts(self.system.state_dir))
        own = {"network bridge", "network host", "network none"}
        self.baseline.foreign = {name: each for name, each in self.baseline.foreign.items() if name not in own}

    def remember_specs(self) -> None:
        """Record what was declared since, beside what was recorded before."""
        for row in read_facts(self.system.state_dir).rows:
            self.baseline.acknowledge(row)

    def verify(self, *, within: float = PATIENCE) -> None:
        """Judge the eight invariants; the last of them by watching the system at rest.

        What was on its way when the fault ended may still end, so rest is waited for; a loop that never rests fails.
        """
        state = self.system.state_dir
        end = time.monotonic() + within
        try:
            while True:
                check(state, self.baseline, within=max(1.0, end - time.monotonic()))
                cpu, writes = self._at_rest()
                if not writes or time.monotonic() >= end:
                    break
            measured = Measured(
                self.recording.overlaps(),
                self.recording.starts(),
                cpu=cpu,
                writes=writes,
                watched="SQL, git and the engine's events watched over a resync",
            )
            verdicts = check(state, self.baseline, measured)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.system.logs()[-6000:]}") from error
        assert all(verdict.measured for verdict in verdicts), verdicts

    def _at_rest(self) -> tuple[float, list[str]]:
        """Return the controller's share of a core, and what was written, over some seconds."""
        self.recording.catch_up()
        events = len(self.recording.events())
        with closing(Quiet(self.system.state_dir / "state.db", None, self.log)) as quiet:
            quiet.begin()
            cpu = cpu_share(self.controller, REST_SECONDS)
            writes = quiet.writes()
        self.recording.catch_up()
        return cpu, writes + [f"Docker: {each['Action']}" for each in self.recording.events()[events:]]

    # The end --------------------------------------------------------------------------------------------------

    def clean(self) -> None:
        """Remove what this installation has on the engine, and everything else a test made there."""
        for kind, listing in (
            ("container", ["ps", "-aq"]),
            ("volume", ["volume", "ls", "-q"]),
            ("network", ["network", "ls", "-q", "--filter", "type=custom"]),
        ):
            force = ["-f"] if kind != "network" else []
            eventually(
                partial(self._remove, kind, listing, force),
                timeout=60,
                what=f"every {kind} is removed",
            )

    def _remove(self, kind: str, listing: list[str], force: list[str]) -> bool:
        """Remove all of a kind; an engine that was stopped in the middle of something needs more than one try."""
        names = self.engine.docker(*listing).split()
        if names:
            self.engine.docker(kind, "rm", *force, *names)
        return True


def make_strangers(engine: OwnEngine) -> None:
    """Make a container, a volume and a network that are a person's."""
    engine.docker("volume", "create", "person")
    engine.docker("network", "create", "person")
    engine.docker("create", "--name", "person", "--volume", "person:/data", "--network", "person", IMAGES[0])


@contextmanager
def engine_world(
    engine: OwnEngine,
    *,
    image: str = IMAGES[0],
    model: Model = NOBODY,
    settings: Mapping[str, str] | None = None,
) -> Iterator[EngineWorld]:
    """Yield a running installation with an empty fleet and one repository; nothing of it is left after the block.

    Args:
        settings: variables of the environment beside the usual ones; ``DOCKER_HOST`` may be a proxy.
    """
    folder = Path(tempfile.mkdtemp(prefix="cco-engine-"))
    folder.chmod(0o755)
    log = GitLog(folder / "bin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.url)  # what looks at the engine here looks at this one
        port, prefix = free_port("127.0.0.1"), f"ccoe{secrets.token_hex(3)}"
        environment = {
            **environment_for(folder, prefix, model, port),
            "PATH": f"{log.folder}:{os.environ['PATH']}",
            "ANTHROPIC_API_KEY": KEY,
            "CCO_HEARTBEAT_SECONDS": "1",
            "CCO_RESYNC_SECONDS": f"{RESYNC_SECONDS:g}",
            "CCO_INSTANCE_IMAGE": image,
            **(settings or {}),
        }
        system = System(folder, prefix, port, model, environment)
        repository = make_repository(folder / "shop", owner=1000 if os.geteuid() == 0 else None)
        make_strangers(engine)
        with EngineRecording(engine) as recording:
            world = EngineWorld(system, engine, recording, log, repository)
            try:
                world.start()
                system.cco("init", str(repository), "--name", repository.name, "--no-manifest")
                world.remember()
                yield world
            finally:
                world.stop()
                if not engine.answers():
                    engine.recover()
                shutil.rmtree(folder)
                world.clean()
