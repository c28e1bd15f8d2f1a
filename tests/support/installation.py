"""A whole installation in this process, reached over HTTP: real API, store, loop and streams; fake engine and git.

``World`` has the parts; here a thread plays the controller's loop on the real clock, and another serves the API.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn

from api.app import create_app
from api.controller_link import ControllerLink
from api.serving import Server
from api.tokens import load_or_create_token
from controller.doctor.doctor import Doctor
from controller.errors import Unavailable
from controller.orphans.assembly import assemble
from controller.reconcile.actions import Plan
from controller.reconcile.loop import Request
from controller.reconcile.observed import work_out
from controller.reconcile.plan import plan
from controller.resources import Instance
from controller.resources.orphan import OrphanList
from controller.runtime.choice import Runtimes, only
from controller.settings import Settings
from controller.store import Store
from controller.streams import StreamServer
from controller.streams.checks import CheckStreams
from controller.streams.instances import InstanceStreams
from controller.streams.orphans import OrphanStreams
from controller.streams.snapshots import SnapshotStreams

from .fake_disk import FakeDisk
from .fake_engine_view import FakeEngineView
from .fake_runtime import FakeRuntime
from .fake_workspaces import FakeWorkspaces
from .world import START, World

LONGEST_SECONDS = 20.0
PASSES = 30


class Installation:
    """A context manager; ``world`` has the switches of misbehaviour.

    Attributes:
        address: the server's URL.
        engine_view: what the engine says of itself.
        orphans: what the doctor is told of them.
        resting: while true, the controller does nothing (its socket still answers).
    """

    def __init__(self, directory: Path) -> None:
        self.world = World(directory)
        self._resting = False
        self._one_pass = threading.Lock()
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._link = ControllerLink(self.settings.controller_socket)
        app = create_app(self.store, self.settings, load_or_create_token(self.settings), self._link)
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        self._server = Server(config, app.state.hub)
        self.engine_view = FakeEngineView(self.world.engine)
        self.orphans = OrphanList()
        runtime = FakeRuntime(self.world.engine)
        runtimes, both = only(runtime), Runtimes("docker", dict.fromkeys(("docker", "process"), lambda: runtime))
        streams = [
            *InstanceStreams(self.store.instances.get, self._preview, both).routes(),
            *self._orphan_streams(runtimes).routes(),
            *CheckStreams(self._doctor(runtimes)).routes(),
            *self._snapshot_streams(runtimes).routes(),
        ]
        self._streams: StreamServer | None = StreamServer(self.settings.controller_socket, streams)
        self._threads = [
            threading.Thread(target=self._serve, name="api"),
            threading.Thread(target=self._reconcile, name="loop"),
        ]

    def _doctor(self, runtimes: Runtimes) -> Doctor:
        """Return what looks at everything; the engine it sees is the fake one."""
        world = self.world
        return Doctor(
            settings=self.settings,
            store=self.store,
            runtimes=runtimes,
            workspaces=world.workspaces(),
            engine=lambda: self.engine_view,
            programs=lambda: None,
            credentials=lambda: {"ANTHROPIC_API_KEY": "sk-ant-fake"} if world.credentials else {},
            heard=world.agents.all_heard,
            orphans=lambda: self.orphans,
        )

    def _orphan_streams(self, runtimes: Runtimes) -> OrphanStreams:
        """Return what answers about orphans; everything on the fake disk is as old as the world."""
        settings = self.settings.model_copy(update={"network": FakeRuntime().network})
        workspaces, disk = FakeWorkspaces(self.world.git), FakeDisk(self.world.git, lambda: START)
        parts = assemble(settings, self.store, runtimes, workspaces, lambda: datetime.now(UTC), disk)
        return OrphanStreams(parts.survey, parts.sweeper)

    def _snapshot_streams(self, runtimes: Runtimes) -> SnapshotStreams:
        """Return what answers about snapshots."""
        return SnapshotStreams(
            repositories=self.store.repositories,
            instances=self.store.instances,
            workspaces=FakeWorkspaces(self.world.git),
            runtimes=runtimes,
            events=self.store.events,
            place=lambda instance, of: work_out(instance, of, self.settings, attempt=instance.status.attempt).ref,
            root=None,
        )

    @property
    def resting(self) -> bool:
        return self._resting

    @resting.setter
    def resting(self, value: bool) -> None:
        with self._one_pass:  # a pass that runs is waited for
            self._resting = value

    @property
    def settings(self) -> Settings:
        return self.world.settings

    @property
    def store(self) -> Store:
        return self.world.store

    def __enter__(self) -> Self:
        if self._streams is not None:
            self._streams.start()
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self._server.started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._server.should_exit = True
        self._server.force_exit = True
        self.stop_streams()
        for thread in self._threads:
            thread.join(LONGEST_SECONDS)
        self._link.close()
        self._socket.close()
        self.world.close()

    def repository(self, path: Path, name: str | None = None) -> Path:
        """Let a repository be seen at the path, with the files a command line looks for; registered if named."""
        for part in ("objects", "refs"):
            (path / ".git" / part).mkdir(parents=True, exist_ok=True)
        (path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        self.world.git.add_repository(str(path))
        if name is not None:
            self.world.register(name, str(path))
        return path

    def ready(self, name: str = "web", **spec: object) -> Instance:
        """Declare an instance and wait until it is ready."""
        self.world.declare(name, **spec)
        wait_until(lambda: self.world.get(name).status.session is not None)
        return self.world.get(name)

    def stop_streams(self) -> None:
        """Let the controller's socket go away, as when the controller is down."""
        if self._streams is not None:
            self._streams.stop()
            self._streams = None

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def _reconcile(self) -> None:
        while not self._stop.is_set():
            self.store.wait(self.store.revision(), 0.02)
            with self._one_pass:
                if not self._resting:
                    self._look_at_everything()

    def _look_at_everything(self) -> None:
        self.world.now = datetime.now(UTC)
        for repository in self.store.repositories.list():
            self.world.repository_reconciler().reconcile(Request(repository.metadata.name))
        for instance in self.store.instances.list():
            for _ in range(PASSES):
                if self.world.one_pass(instance.metadata.name) != 0.0:
                    break

    def _preview(self, instance: Instance) -> Plan:
        reconciler = self.world.reconciler()
        instance, observed, wanted = reconciler.observe(instance)
        return plan(instance, observed, wanted, reconciler.pace, now=self.world.now)


def wait_until(true: Callable[[], bool], seconds: float = LONGEST_SECONDS) -> None:
    """Look until it is true; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            msg = "it did not become true in time"
            raise Unavailable("TestTimeout", msg)
        time.sleep(0.01)
