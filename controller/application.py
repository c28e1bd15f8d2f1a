"""All parts of one controller process, wired: the only place that knows which store, runtimes and workspaces are used.

``__main__`` comes here with everything that had to be opened first; the loop itself begins in ``reconcile.loop``.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from typing import Protocol

from .agents import AgentLinks
from .credentials import Credentials
from .doctor.doctor import Doctor
from .manifests import Manifests
from .orphans.assembly import assemble
from .reconcile.actions import Plan
from .reconcile.brake import FleetBrake
from .reconcile.disk import DiskWatch
from .reconcile.execute import Executor
from .reconcile.loop import Controller, Request, Source
from .reconcile.observed import work_out
from .reconcile.pacing import StartTurns, default_turns
from .reconcile.plan import plan
from .reconcile.reconciler import InstanceReconciler
from .reconcile.repositories import RepositoryReconciler
from .reconcile.silence import SilenceWatch
from .reconcile.sources import ResyncSource, RuntimeSource, StoreSource
from .reconcile.usage import UsageRecorder
from .resources import Instance, Kind
from .runtime.choice import Runtimes
from .runtime.facts import EngineView
from .runtime.process.programs import find_programs
from .settings import Settings
from .state_directory import RunDirectories
from .store import Store
from .streams import Route, StreamServer
from .streams.checks import CheckStreams
from .streams.instances import InstanceStreams
from .streams.orphans import OrphanStreams
from .streams.snapshots import SnapshotStreams
from .workspace import GitWorkspaces

logger = logging.getLogger(__name__)

WAKE_SECONDS = 0.5


class Part(Protocol):
    """Something that works in threads of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, and wait for that."""


class Application:
    """The parts, made but not begun."""

    def __init__(self, settings: Settings, store: Store, runtimes: Runtimes, credentials: Credentials) -> None:
        self._settings, self._store, self._runtimes, self._credentials = settings, store, runtimes, credentials
        self._workspaces = GitWorkspaces(settings.state_dir)
        self._manifests = Manifests(settings, store.check_fence)
        self._links = AgentLinks(RunDirectories(settings).path, credentials.read, self._wake, store.check_fence)
        places = (settings.state_dir, *((settings.worktree_base_path,) if settings.worktree_base_path else ()))
        self._disk = DiskWatch(
            self._links, store.instances.name_of, places, settings.disk_full_percent / 100, self._wake
        )
        self._orphans = assemble(settings, store, runtimes, self._workspaces, _now)
        self._reconciler = self._make_reconciler()
        self._instances = self._make_loop()
        self._parts: tuple[Part, ...] = (
            self._disk,  # before anything that starts an instance: it looks at once
            self._make_repository_loop(),
            self._instances,
            UsageRecorder(self._links, store.instances, settings.heartbeat_seconds),
            SilenceWatch(self._links, self._reconciler.pace, store.instances.name_of, self._wake),
            self._orphans.timer,
            StreamServer(settings.controller_socket, self._routes(), store.check_fence),
        )

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; instances keep running after that, nothing depends on this process."""
        with ExitStack() as running:
            running.callback(self._links.close)
            for part in self._parts:
                running.callback(part.stop)
                part.start()
            logger.info("controller started")
            while not stop.wait(WAKE_SECONDS):
                pass  # a signal that comes just before a wait is only handled after it
        logger.info("controller stopped")

    def _make_reconciler(self) -> InstanceReconciler:
        settings, store = self._settings, self._store
        turns = StartTurns(default_turns(), self._wake)
        executor = Executor(
            workspaces=self._workspaces,
            runtimes=self._runtimes,
            links=self._links,
            rows=store.instances,
            inputs=store.inputs,
            events=store.events,
            turns=turns,
            manifests=self._manifests,
            fence=store.check_fence,
            stop_grace=settings.stop_grace_seconds,
            run_dir=RunDirectories(settings),
        )
        return InstanceReconciler(
            instances=store.instances,
            repositories=store.repositories,
            inputs=store.inputs,
            events=store.events,
            transaction=store.transaction,
            workspaces=self._workspaces,
            runtimes=self._runtimes,
            links=self._links,
            executor=executor,
            turns=turns,
            brake=FleetBrake(),
            disk=self._disk.verdict,
            credentials=self._credentials.present,
            settings=settings,
            clock=_now,
        )

    def _make_loop(self) -> Controller:
        instances, runtimes = self._store.instances, self._runtimes
        sources: tuple[Source, ...] = (
            StoreSource(self._store, Kind.INSTANCE, instances.names),
            *(RuntimeSource(runtimes, name, instances.name_of, instances.names) for name in runtimes.names),
            ResyncSource(instances.names, self._settings.resync_seconds),
        )
        return Controller("instance", self._reconciler, sources, workers=self._settings.workers)

    def _make_repository_loop(self) -> Controller:
        store, settings = self._store, self._settings
        reconciler = RepositoryReconciler(
            repositories=store.repositories,
            instances=store.instances,
            workspaces=self._workspaces,
            manifests=self._manifests,
            root=settings.root,
            on_change=self._wake,
            clock=_now,
        )
        names = store.repositories.names
        sources = (StoreSource(store, Kind.REPOSITORY, names), ResyncSource(names, settings.resync_seconds))
        return Controller("repository", reconciler, sources, workers=1)

    def _routes(self) -> list[Route]:
        """Return everything the API may ask this process for."""
        settings, store, orphans = self._settings, self._store, self._orphans
        snapshots = SnapshotStreams(
            repositories=store.repositories,
            instances=store.instances,
            workspaces=self._workspaces,
            runtimes=self._runtimes,
            events=store.events,
            place=lambda instance, of: work_out(instance, of, settings, attempt=instance.status.attempt).ref,
            root=settings.root,
        )
        doctor = Doctor(
            settings=settings,
            store=store,
            runtimes=self._runtimes,
            workspaces=self._workspaces,
            engine=cache(lambda: docker_view(settings)),
            programs=lambda: find_programs(settings.claude),
            credentials=self._credentials.read,
            heard=self._links.all_heard,
            orphans=lambda: orphans.survey.look().as_list(),
        )
        return [
            *InstanceStreams(store.instances.get, self._preview, self._runtimes).routes(),
            *CheckStreams(doctor).routes(),
            *OrphanStreams(orphans.survey, orphans.sweeper).routes(),
            *snapshots.routes(),
        ]

    def _preview(self, instance: Instance) -> Plan:
        seen, observed, wanted = self._reconciler.observe(instance)
        return plan(seen, observed, wanted, self._reconciler.pace, now=_now())

    def _wake(self, name: str) -> None:
        self._instances.queue.add(Request(name))


def docker_view(settings: Settings) -> EngineView:
    """Return the view on the Docker engine; its library is imported where there is one to look at."""
    from .runtime.docker.facts import DockerFacts  # noqa: PLC0415  # see above

    return DockerFacts.from_settings(settings)


def _now() -> datetime:
    return datetime.now(UTC)
