"""What a scenario does with the instances it declared: spawn, look, wait, work in them; for every arm with an API.

The processes behind the API are ``controller_and_server.py``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from api.client import ApiError
from controller.resources import (
    Condition,
    ConditionStatus,
    Instance,
    InstanceManifest,
    InstanceSpec,
    ManifestMetadata,
    find_condition,
)
from support.host_system import System

from .baseline import Baseline
from .controller_and_server import PATIENCE, ControllerAndServer
from .facts import Row


@dataclass
class DeclaredInstances:
    """The instances of one repository.

    Attributes:
        baseline: what was recorded before a fault, and since then every wish that was acknowledged and every commit
            of :meth:`commit`: what comes after the record must survive like what came before it.
        cpus: of each that does not say otherwise.
    """

    place: ControllerAndServer
    repository: Path
    baseline: Baseline = field(default_factory=Baseline)
    _adding: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    cpus: ClassVar[float] = 1.0

    @property
    def system(self) -> System:
        return self.place.system

    # The fleet ------------------------------------------------------------------------------------------------

    def spawn(self, *names: str, **spec: object) -> None:
        """Declare instances; they run the installation's image unless the spec says otherwise."""
        with self.place.client() as client:
            for name in names:
                self.acknowledge(client.create_instance(self.manifest(name, **spec)))

    def manifest(self, name: str, **spec: object) -> InstanceManifest:
        wanted = {"repository": self.repository.name, "permission_mode": "bypassPermissions", **spec}
        wanted.setdefault("resources", {"cpus": self.cpus, "memory": "1Gi"})
        return InstanceManifest(metadata=ManifestMetadata(name=name), spec=InstanceSpec.model_validate(wanted))

    def get(self, name: str) -> Instance:
        with self.place.client() as client:
            return client.get_instance(name)

    def patch(self, name: str, **spec: object) -> None:
        """Change an instance's spec."""
        with self.place.client() as client:
            self.acknowledge(client.patch_instance(name, {"spec": spec}))

    def send(self, name: str, text: str) -> None:
        with self.place.client() as client:
            client.create_input(name, text)

    def delete(self, *names: str) -> None:
        with self.place.client() as client:
            for name in names:
                self.acknowledge(client.delete_instance(name))

    def acknowledge(self, told: Instance) -> None:
        """Remember what the API has said is stored, unless it has said something newer."""
        metadata = told.metadata
        spec, deleting = told.spec.model_dump(mode="json"), metadata.deletion_requested_at is not None
        row = Row("Instance", metadata.name, metadata.uid, metadata.generation, deleting, spec, {})
        with self._adding:
            known = [each for each in self.baseline.acknowledged if each.uid == row.uid]
            if all((each.generation, each.deleting) <= (row.generation, row.deleting) for each in known):
                self.baseline.acknowledge(row)

    def names(self) -> list[str]:
        with self.place.client() as client:
            return [each.metadata.name for each in client.list_instances(repository=self.repository.name)]

    def is_gone(self, name: str) -> bool:
        try:
            self.get(name)
        except ApiError as error:
            return error.status == 404
        return False

    # Looks and waits ------------------------------------------------------------------------------------------

    def ready(self, name: str) -> Condition:
        """Return the condition ``Ready`` of what was declared last."""
        instance = self.get(name)
        found = find_condition(instance.status.conditions, "Ready")
        assert found is not None, f"{name} was not looked at yet"
        assert instance.status.observed_generation == instance.metadata.generation, f"{name}: an older generation"
        return found

    def condition(self, name: str, type_: str) -> Condition:
        found = find_condition(self.get(name).status.conditions, type_)
        assert found is not None, f"{name} has no condition {type_} yet"
        return found

    def reasons(self, name: str) -> list[str]:
        """Return the reasons of all events of an instance."""
        with self.place.client() as client:
            return [each.reason for each in client.instance_events(name)]

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

    # One instance ---------------------------------------------------------------------------------------------

    def container(self, name: str) -> str:
        workload = self.get(name).status.workload
        assert workload is not None, f"{name} has no container"
        return workload.name

    def inspect(self, name: str, kind: str = "container") -> dict[str, Any]:
        """Return what the engine says of something."""
        found: dict[str, Any] = json.loads(self.place.docker(kind, "inspect", name))[0]
        return found

    def life(self, name: str) -> tuple[str, int, str]:
        """Return container, first process and time of the start: what a restart would change."""
        found = self.inspect(self.container(name))
        return found["Id"], found["State"]["Pid"], found["State"]["StartedAt"]

    def lives(self, *names: str) -> dict[str, tuple[str, int, str]]:
        """Return the life of each."""
        return {name: self.life(name) for name in names}

    def worktree(self, name: str) -> Path:
        workspace = self.get(name).status.workspace
        assert workspace is not None, f"{name} has no workspace"
        return Path(workspace.path)

    def in_box(self, name: str, script: str, *, check: bool = True) -> str:
        """Do something as the agent, in its container and its worktree."""
        argv = ["--workdir", str(self.worktree(name)), self.container(name), "sh", "-ec", script]
        return self.place.docker("exec", *argv, check=check)

    def commit(self, name: str, subject: str) -> str:
        """Commit something in an instance, and leave something uncommitted; returns the commit."""
        script = f"echo {subject} >>work.txt; git add work.txt; git commit -qm '{subject}'; echo half >draft.txt"
        commit = self.in_box(name, f"{script}; git rev-parse HEAD")
        self.baseline.remember_commit(str(self.repository), commit)
        return commit
