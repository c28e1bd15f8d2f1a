"""An installation on an engine of its own: real controller, server, git and instances; what breaks is the engine.

Where a scenario is about the conversation, the instances run the real client with the scripted model; else a stand-in
for agent and Claude that starts at once (``light_agent.py``). Every scenario ends with :meth:`EngineWorld.verify`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from controller.resources import ConditionStatus
from support.deadline import eventually
from support.host_system import make_repository
from support.model_container import Model
from support.own_engine import OwnEngine

from .baseline import record
from .controller_and_server import PATIENCE, ControllerAndServer, logged_system
from .engine_recording import EngineRecording
from .facts import read_facts
from .instances import DeclaredInstances
from .real_world import IMAGES
from .verify import Measured, check

RESYNC_SECONDS = 4.0
REST_SECONDS = 5.0
"""Longer than a resync."""
NOBODY = Model("http://192.0.2.1:9")


@dataclass
class OnOwnEngine(ControllerAndServer):
    """Controller and server on an engine that may break.

    Attributes:
        recording: of the engine's events.
    """

    engine: OwnEngine
    recording: EngineRecording

    def docker(self, *arguments: str, check: bool = True) -> str:
        return self.engine.docker(*arguments, check=check)

    def said(self) -> str:
        return f"{super().said()}\n{self.engine.said()}"


@dataclass
class EngineWorld(DeclaredInstances):
    """One installation."""

    place: OnOwnEngine
    cpus: ClassVar[float] = 0.5

    # The fleet ------------------------------------------------------------------------------------------------

    def until_unknown(self, name: str) -> None:
        """Wait until the instance is said to be in a state that nobody knows, and why."""

        def is_unknown() -> bool:
            ready = self.ready(name)
            assert (ready.status, ready.reason) == (ConditionStatus.UNKNOWN, "RuntimeUnavailable"), ready
            assert self.place.engine.url in ready.message, ready
            return True

        self.until(is_unknown, f"{name} is unknown")

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
        with self.place.telling():
            while True:
                check(state, self.baseline, within=max(1.0, end - time.monotonic()))
                cpu, writes = self._at_rest()
                if not writes or time.monotonic() >= end:
                    break
            measured = Measured(
                self.place.recording.overlaps(),
                self.place.recording.starts(),
                cpu=cpu,
                writes=writes,
                watched="SQL, git and the engine's events watched over a resync",
            )
            verdicts = check(state, self.baseline, measured)
        assert all(verdict.measured for verdict in verdicts), verdicts

    def _at_rest(self) -> tuple[float, list[str]]:
        """Return the controller's share of a core, and what was written, over some seconds."""
        self.place.recording.catch_up()
        events = len(self.place.recording.events())
        cpu, writes = self.place.at_rest(REST_SECONDS)
        self.place.recording.catch_up()
        return cpu, writes + [f"Docker: {each['Action']}" for each in self.place.recording.events()[events:]]

    # The end --------------------------------------------------------------------------------------------------

    def clean(self) -> None:
        """Remove what this installation has on the engine, and everything else a test made there."""
        for kind, listing in (
            ("container", ["ps", "-aq"]),
            ("volume", ["volume", "ls", "-q"]),
            ("network", ["network", "ls", "-q", "--filter", "type=custom"]),
        ):
            force = ["-f"] if kind != "network" else []
            eventually(partial(self._remove, kind, listing, force), timeout=60, what=f"every {kind} is removed")

    def _remove(self, kind: str, listing: list[str], force: list[str]) -> bool:
        """Remove all of a kind; an engine that was stopped in the middle of something needs more than one try."""
        names = self.place.docker(*listing).split()
        if names:
            self.place.docker(kind, "rm", *force, *names)
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.url)  # what looks at the engine here looks at this one
        usual = {"CCO_RESYNC_SECONDS": f"{RESYNC_SECONDS:g}", "CCO_INSTANCE_IMAGE": image}
        system, log = logged_system(folder, "ccoe", model, {**usual, **(settings or {})})
        repository = make_repository(folder / "shop", owner=1000 if os.geteuid() == 0 else None)
        make_strangers(engine)
        with EngineRecording(engine) as recording:
            world = EngineWorld(OnOwnEngine(system, log, engine, recording), repository)
            try:
                world.place.start()
                system.cco("init", str(repository), "--name", repository.name, "--no-manifest")
                world.remember()
                yield world
            finally:
                world.place.stop()
                if not engine.answers():
                    engine.recover()
                shutil.rmtree(folder)
                world.clean()
