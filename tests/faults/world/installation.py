"""A running installation on the machine's engine, broken from outside and judged by ``verify``.

Controller, server, Docker, git and SQLite are real. Instances run the real client with the scripted model where the
scenario is about it (``CLIENT``), and else ``LIGHT``: a stand-in for agent and Claude that starts at once. The tests
of this folder share one installation, each with a repository of its own; ``conftest.py`` makes both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from api.client import ApiError
from controller.resources import (
    Condition,
    ConditionStatus,
    Instance,
    InstanceManifest,
    InstanceSpec,
    ManifestMetadata,
    RepositoryManifest,
    RepositorySpec,
    find_condition,
)
from faults.baseline import Baseline, record
from faults.facts import read_facts, run
from faults.verify import check
from support.host_system import System

from .person import PERSON, as_person, git
from .running import CLIENT, LIGHT, PATIENCE, REST_SECONDS, Installation, installation

EVERYTHING = os.environ.get("TEST_FAULTS") == "all"
"""Whether there is time (``make faults``): more instances, every variant of a scenario, and waiting to the end."""

__all__ = ["CLIENT", "EVERYTHING", "LIGHT", "PERSON", "Installation", "World", "as_person", "git", "installation"]


@dataclass
class World:
    """What one test has: the installation, and a repository of its own that a person works in.

    Attributes:
        baseline: what :meth:`remember` recorded.
    """

    place: Installation
    repository: Path
    baseline: Baseline = field(default_factory=Baseline)

    @property
    def system(self) -> System:
        return self.place.system

    def register(self) -> None:
        with self.place.client() as client:
            spec = RepositorySpec(path=str(self.repository))
            client.create_repository(
                RepositoryManifest(metadata=ManifestMetadata(name=self.repository.name), spec=spec)
            )

    # The fleet ------------------------------------------------------------------------------------------------

    def spawn(self, *names: str, **spec: object) -> None:
        """Declare instances; they run ``LIGHT`` unless the spec says otherwise."""
        with self.place.client() as client:
            for name in names:
                client.create_instance(self.manifest(name, **spec))

    def manifest(self, name: str, **spec: object) -> InstanceManifest:
        wanted = {"repository": self.repository.name, "permission_mode": "bypassPermissions", **spec}
        wanted.setdefault("resources", {"cpus": 1.0, "memory": "1Gi"})
        return InstanceManifest(metadata=ManifestMetadata(name=name), spec=InstanceSpec.model_validate(wanted))

    def talk(self, name: str, word: str = "hello", **spec: object) -> None:
        """Declare an instance with the real client and wait until its first turn is over."""
        self.spawn(name, image=CLIENT, prompt=f"STEP say {word}", **spec)
        self.until_state(name, "idle", "working")
        self.until(lambda: self.screen(name).count(word) >= 2, f"{name} has said {word}")
        self.until_state(name, "idle")

    def get(self, name: str) -> Instance:
        with self.place.client() as client:
            return client.get_instance(name)

    def patch(self, name: str, **spec: object) -> None:
        with self.place.client() as client:
            client.patch_instance(name, {"spec": spec})

    def send(self, name: str, text: str) -> None:
        with self.place.client() as client:
            client.create_input(name, text)

    def delete(self, *names: str) -> None:
        with self.place.client() as client:
            for name in names:
                client.delete_instance(name)

    def names(self) -> list[str]:
        with self.place.client() as client:
            return [each.metadata.name for each in client.list_instances(repository=self.repository.name)]

    def is_gone(self, name: str) -> bool:
        try:
            self.get(name)
        except ApiError as error:
            return error.status == 404
        return False

    def ready(self, name: str) -> Condition:
        """Return the condition ``Ready`` of what was declared last."""
        instance = self.get(name)
        found = find_condition(instance.status.conditions, "Ready")
        assert found is not None, f"{name} was not looked at yet"
        assert instance.status.observed_generation == instance.metadata.generation, f"{name}: an older generation"
        return found

    def condition(self, name: str, type_: str) -> Condition:
        found = find_condition(self.get(name).status.conditions, type_)
        assert found is not None
        return found

    def until(self, look: Callable[[], Any], what: str, *, timeout: float = PATIENCE) -> Any:  # noqa: ANN401  # as the look
        return self.place.until(look, what, timeout=timeout)

    def until_ready(self, *names: str, timeout: float = PATIENCE) -> None:
        def up(name: str) -> bool:
            ready = self.ready(name)
            assert ready.status is ConditionStatus.TRUE, ready
            return True

        for name in names:
            self.until(partial(up, name), f"{name} is ready", timeout=timeout)

    def until_reason(
        self, name: str, *reasons: str, timeout: float = PATIENCE, status: ConditionStatus = ConditionStatus.FALSE
    ) -> Condition:
        """Wait until ``Ready`` has this status for one of these reasons."""

        def look() -> Condition:
            ready = self.ready(name)
            assert (ready.status, ready.reason in reasons) == (status, True), ready
            return ready

        found: Condition = self.until(look, f"{name} is {' or '.join(reasons)}", timeout=timeout)
        return found

    def until_state(self, name: str, *states: str, timeout: float = PATIENCE) -> None:
        """Wait until Claude's session is in one of the states."""

        def look() -> bool:
            session = self.get(name).status.session
            return session is not None and str(session.state) in states

        self.until(look, f"session of {name} is {' or '.join(states)}", timeout=timeout)

    def until_gone(self, *names: str, timeout: float = PATIENCE) -> None:
        for name in names:
            self.until(partial(self.is_gone, name), f"{name} is gone", timeout=timeout)

    def reasons(self, name: str) -> list[str]:
        """Return the reasons of all events of an instance."""
        with self.place.client() as client:
            return [each.reason for each in client.instance_events(name)]

    # One instance ---------------------------------------------------------------------------------------------

    def container(self, name: str) -> str:
        workload = self.get(name).status.workload
        assert workload is not None, f"{name} has no container"
        return workload.name

    def life(self, name: str) -> tuple[str, int, str]:
        """Return container, first process and time of the start: what a restart would change."""
        found = json.loads(run(["docker", "container", "inspect", self.container(name)]))[0]
        return found["Id"], found["State"]["Pid"], found["State"]["StartedAt"]

    def worktree(self, name: str) -> Path:
        workspace = self.get(name).status.workspace
        assert workspace is not None, f"{name} has no workspace"
        return Path(workspace.path)

    def in_box(self, name: str, script: str, *, check: bool = True) -> str:
        """Do something as the agent, in its container and its worktree."""
        argv = ["docker", "exec", "--workdir", str(self.worktree(name)), self.container(name), "sh", "-ec", script]
        return run(argv, check=check).decode(errors="replace").strip()

    def commit(self, name: str, subject: str) -> str:
        """Commit something in an instance, leave something uncommitted, wait until the commit is home; returns it."""
        script = f"echo {subject} >>work.txt; git add work.txt; git commit -qm '{subject}'; echo half >draft.txt"
        self.in_box(name, script)
        commit = self.in_box(name, "git rev-parse HEAD")
        branch = self.get(name).branch
        self.until(lambda: self.head(branch) == commit, f"the commit of {name} is at home")
        return commit

    def head(self, branch: str) -> str:
        return git(self.repository, "rev-parse", "--verify", "-q", f"refs/heads/{branch}", check=False)

    def screen(self, name: str) -> str:
        """Return what a person sees in Claude's window."""
        target = f"=cc-orchestrator-{name}:claude"
        return run(["docker", "exec", self.container(name), "tmux", "capture-pane", "-p", "-t", target]).decode()

    # What must hold -------------------------------------------------------------------------------------------

    def remember(self) -> None:
        """Record what must survive; of the engine only our own strangers, because others use it, too."""
        self.baseline = record(read_facts(self.system.state_dir))
        here = str(self.repository)
        self.baseline.foreign = {
            name: digest
            for name, digest in self.baseline.foreign.items()
            if here in name or name.endswith(self.place.strangers)
        }

    def verify(
        self, *, within: float = PATIENCE, rest: bool = True, cpu: bool = True, seconds: float = REST_SECONDS
    ) -> None:
        """Judge the eight invariants; the last of them by watching the system at rest.

        Args:
            within: for so long things may still be on their way.
            rest: whether to watch at all.
            cpu: whether to judge the controller's; a large fleet costs more than usual with a resync this often.
            seconds: for how long to watch.
        """
        try:
            check(self.system.state_dir, self.baseline, within=within)
            measured = self.place.measured(rest=rest, seconds=seconds)
            measured = measured if cpu else replace(measured, cpu=None)
            verdicts = check(self.system.state_dir, self.baseline, measured, within=5.0)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.system.logs()[-6000:]}") from error
        assert not rest or all(verdict.measured for verdict in verdicts), verdicts

    def close(self) -> None:
        """Delete everything of this test, through the product; its work must outlive that."""
        self.baseline.acknowledged = [each for each in self.baseline.acknowledged if each.kind == "Repository"]
        names = self.names()
        self.delete(*names)
        self.until_gone(*names)
        self.verify(rest=False)
        assert git(self.repository, "fsck", "--no-dangling") == "", "the person's repository is sound"
        with self.place.client() as client:
            client.delete_repository(self.repository.name)
