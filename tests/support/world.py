"""A whole installation without Docker and git: the real store and loop over the fake engine, agents and git.

``World`` outlives controllers: :meth:`World.reconciler` is a newly started one each time. :meth:`World.settle` runs
passes until nobody asks for another, as the loop would, with the clock standing still unless told otherwise.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.errors import CcoError, NotFound, Retryable
from controller.manifests import Manifests
from controller.reconcile.brake import FleetBrake
from controller.reconcile.execute import Executor
from controller.reconcile.loop import Request
from controller.reconcile.observed import DiskVerdict
from controller.reconcile.pacing import StartTurns
from controller.reconcile.reconciler import InstanceReconciler
from controller.reconcile.repositories import RepositoryReconciler
from controller.resources import (
    Condition,
    Instance,
    InstanceManifest,
    ManifestMetadata,
    RepositoryManifest,
    RepositorySpec,
    find_condition,
)
from controller.resources.instance import InstanceSpec
from controller.runtime.choice import only
from controller.runtime.protocol import Runtime
from controller.settings import Settings
from controller.state_directory import RunDirectories
from controller.store import Store
from controller.workspace.types import Workspaces

from .fake_agents import FakeAgents
from .fake_engine import FakeEngine
from .fake_runtime import FakeRuntime
from .fake_workspaces import FakeGit, FakeWorkspaces

REPOSITORY_PATH = "/repositories/shop"
START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@functools.cache
def _empty_database() -> bytes:
    """Return a database as a first start makes it; making it would be most of the time of a short test."""
    with tempfile.TemporaryDirectory(prefix="cco-world-") as folder:
        path = Path(folder) / "state.db"
        Store.open(path).close()
        return path.read_bytes()


class World:
    """See the module's docstring."""

    def __init__(self, directory: Path) -> None:
        self.now = START
        self.settings = Settings(state_dir=directory)
        if not self.settings.database.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.settings.database.write_bytes(_empty_database())
        self.store = Store.open(self.settings.database)
        self.engine = FakeEngine(now=self._instant)
        self.git = FakeGit()
        self.git.add_repository(REPOSITORY_PATH)
        self.agents = FakeAgents(self.engine, lambda: self.now)
        self.credentials = True
        self.woken: list[str] = []
        self.manifests = Manifests(self.settings)
        self.disk: dict[str, DiskVerdict] = {}
        self.disk_full: str | None = None
        self.new_process()
        self._passes: dict[str, int] = {}

    def close(self) -> None:
        self.store.close()

    def new_process(self, start_turns: int = 64) -> None:
        """Forget what a controller keeps in memory only."""
        self.turns = StartTurns(start_turns, self.woken.append, clock=self._seconds)
        self.brake = FleetBrake()

    def _seconds(self) -> float:
        return self.now.timestamp()

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def _instant(self) -> datetime:
        """Return an instant of its own for each thing that happens in the engine."""
        self.now += timedelta(microseconds=1)
        return self.now

    def workspaces(self) -> Workspaces:
        """Return the workspaces of a newly started controller."""
        return FakeWorkspaces(self.git)

    def runtime(self) -> Runtime:
        """Return the runtime of a newly started controller."""
        return FakeRuntime(self.engine)

    def reconciler(self) -> InstanceReconciler:
        """Return a controller's reconciler as it is just after a start."""
        workspaces = self.workspaces()
        runtimes = only(self.runtime())
        executor = Executor(
            workspaces=workspaces,
            runtimes=runtimes,
            links=self.agents,
            rows=self.store.instances,
            inputs=self.store.inputs,
            events=self.store.events,
            turns=self.turns,
            manifests=self.manifests,
            fence=self.store.check_fence,
            stop_grace=8.0,
            run_dir=RunDirectories(self.settings),
        )
        return InstanceReconciler(
            instances=self.store.instances,
            repositories=self.store.repositories,
            inputs=self.store.inputs,
            events=self.store.events,
            transaction=self.store.transaction,
            workspaces=workspaces,
            runtimes=runtimes,
            links=self.agents,
            executor=executor,
            turns=self.turns,
            brake=self.brake,
            disk=lambda uid: self.disk.get(uid, DiskVerdict(self.disk_full)),
            credentials=lambda: self.credentials,
            settings=self.settings,
            clock=lambda: self.now,
        )

    def repository_reconciler(self, root: Path | None = None) -> RepositoryReconciler:
        return RepositoryReconciler(
            repositories=self.store.repositories,
            instances=self.store.instances,
            workspaces=self.workspaces(),
            manifests=self.manifests,
            root=root,
            on_change=self.woken.append,
            clock=lambda: self.now,
        )

    def register(self, name: str = "shop", path: str = REPOSITORY_PATH) -> None:
        """Register a repository and look at it once."""
        spec = RepositorySpec(path=path)
        self.store.repositories.create(RepositoryManifest(metadata=ManifestMetadata(name=name), spec=spec))
        self.repository_reconciler().reconcile(Request(name))

    def declare(self, name: str = "web", **spec: object) -> Instance:
        """Declare an instance."""
        wanted = InstanceSpec.model_validate({"repository": "shop", **spec})
        return self.store.instances.create(InstanceManifest(metadata=ManifestMetadata(name=name), spec=wanted))

    def change(self, name: str = "web", **spec: object) -> Instance:
        """Change fields of an instance's spec."""
        old = self.get(name).spec
        new = InstanceSpec.model_validate({**old.model_dump(exclude_unset=True), **spec})
        return self.store.instances.update_spec(name, new)

    def get(self, name: str = "web") -> Instance:
        return self.store.instances.get(name)

    def gone(self, name: str = "web") -> bool:
        try:
            self.get(name)
        except NotFound:
            return True
        return False

    def condition(self, type_: str, name: str = "web") -> Condition:
        found = find_condition(self.get(name).status.conditions, type_)
        assert found is not None, f"no condition {type_}"
        return found

    def readiness(self, name: str = "web") -> tuple[str, str]:
        """Return status and reason of ``Ready``."""
        condition = self.condition("Ready", name)
        return str(condition.status), condition.reason

    def one_pass(self, name: str = "web") -> float | None:
        """Do one pass as the loop would; returns when it wants the next one."""
        try:
            return self.reconciler().reconcile(Request(name)).requeue_after
        except Retryable as error:
            return error.delay if error.delay is not None else 1.0
        except CcoError:
            return None

    def settle(self, name: str = "web", *, passes: int = 30, until: Callable[[], bool] | None = None) -> None:
        """Do passes until one wants no other at once; fails after too many, which is a hot loop.

        Args:
            until: keep going, moving the clock as far as each pass asks, until it is true.
        """
        for _ in range(passes):
            wanted = self.one_pass(name)
            if until is not None and until():
                return
            if until is None and wanted != 0.0:
                return
            if until is not None and wanted:
                self.tick(wanted)
        state = "" if self.gone(name) else str(self.condition("Ready", name))
        msg = f"{name} did not settle in {passes} passes: {state}"
        raise AssertionError(msg)

    def ready(self, name: str = "web") -> Instance:
        """Register the repository, declare an instance, and bring it to Ready."""
        self.register()
        self.declare(name)
        self.settle(name)
        assert self.condition("Ready", name).status.value == "True", self.condition("Ready", name)
        return self.get(name)

    def event_reasons(self, name: str = "web") -> list[str]:
        return [event.reason for event in self.store.events.list(name=name)]
