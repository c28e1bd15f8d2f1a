"""``python -m controller run``: put the parts together and keep the loop going until a signal.

The only place that knows which store, runtime and workspaces are used. The loop itself begins in
``reconcile.loop``.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NoReturn

from .agents import AgentLinks
from .credentials import Credentials
from .doctor.doctor import Doctor
from .errors import CcoError, NotFound, Retryable, Terminal
from .leadership import HEARTBEAT_SECONDS, heartbeat, take, wait_for
from .logs import configure_logging
from .manifests import Manifests
from .orphans.assembly import assemble
from .rebuild import rebuild
from .reconcile.actions import Plan
from .reconcile.brake import FleetBrake
from .reconcile.disk import DiskWatch
from .reconcile.execute import Executor
from .reconcile.loop import Controller, Request
from .reconcile.observed import work_out
from .reconcile.pacing import StartTurns, default_turns
from .reconcile.plan import plan
from .reconcile.reconciler import InstanceReconciler
from .reconcile.repositories import RepositoryReconciler
from .reconcile.sources import ResyncSource, RuntimeSource, StoreSource
from .reconcile.usage import UsageRecorder
from .resources import Instance, Kind
from .runtime.choice import Runtimes
from .runtime.facts import EngineView
from .settings import Settings, add_flags, load_settings
from .state_directory import RunDirectories, prepare_state_directory
from .store import Store
from .streams import StreamServer
from .streams.checks import CheckStreams
from .streams.instances import InstanceStreams
from .streams.orphans import OrphanStreams
from .streams.snapshots import SnapshotStreams
from .workspace import GitWorkspaces

logger = logging.getLogger(__name__)

WAKE_SECONDS = 0.5


def _now() -> datetime:
    return datetime.now(UTC)


def docker_view(settings: Settings) -> EngineView:
    """Return the view on the Docker engine; its library is imported where there is one to look at."""
    from .runtime.docker.facts import DockerFacts  # noqa: PLC0415  # see above

    return DockerFacts.from_settings(settings)


class Application:
    """All parts of one controller process, wired."""

    def __init__(self, settings: Settings, store: Store, runtimes: Runtimes, credentials: Credentials) -> None:
        directories = RunDirectories(settings)
        workspaces = GitWorkspaces(settings.state_dir)
        manifests = Manifests(settings)
        turns = StartTurns(default_turns(), self._wake)
        self._links = AgentLinks(directories.path, credentials.read, self._wake)

        def name_of(uid: str) -> str | None:
            try:
                return store.instances.get_by_uid(uid).metadata.name
            except NotFound:
                return None

        places = (settings.state_dir, *((settings.worktree_base_path,) if settings.worktree_base_path else ()))
        self._disk = DiskWatch(self._links, name_of, places, settings.disk_full_percent / 100, self._wake)
        executor = Executor(
            workspaces=workspaces,
            runtimes=runtimes,
            links=self._links,
            rows=store.instances,
            inputs=store.inputs,
            events=store.events,
            turns=turns,
            manifests=manifests,
            fence=store.check_fence,
            stop_grace=settings.stop_grace_seconds,
            run_dir=directories,
        )
        reconciler = InstanceReconciler(
            instances=store.instances,
            repositories=store.repositories,
            inputs=store.inputs,
            events=store.events,
            workspaces=workspaces,
            runtimes=runtimes,
            links=self._links,
            executor=executor,
            turns=turns,
            brake=FleetBrake(),
            disk=self._disk.verdict,
            credentials=credentials.present,
            settings=settings,
            clock=_now,
        )
        repository_reconciler = RepositoryReconciler(
            repositories=store.repositories,
            instances=store.instances,
            workspaces=workspaces,
            manifests=manifests,
            root=settings.root,
            on_change=self._wake,
            clock=_now,
        )

        self._instances = Controller(
            "instance",
            reconciler,
            (
                StoreSource(store, Kind.INSTANCE, store.instances.names),
                *(RuntimeSource(runtimes, name, name_of, store.instances.names) for name in runtimes.names),
                ResyncSource(store.instances.names, settings.resync_seconds),
            ),
            workers=settings.workers,
        )
        self._repositories = Controller(
            "repository",
            repository_reconciler,
            (
                StoreSource(store, Kind.REPOSITORY, store.repositories.names),
                ResyncSource(store.repositories.names, settings.resync_seconds),
            ),
            workers=1,
        )
        self._usage = UsageRecorder(self._links, store.instances, settings.heartbeat_seconds)

        def preview(instance: Instance) -> Plan:
            seen, observed, wanted = reconciler.observe(instance)
            return plan(seen, observed, wanted, reconciler.pace, now=_now())

        snapshots = SnapshotStreams(
            repositories=store.repositories,
            instances=store.instances,
            workspaces=workspaces,
            runtimes=runtimes,
            events=store.events,
            place=lambda instance, of: work_out(instance, of, settings, attempt=instance.status.attempt).ref,
            root=settings.root,
        )
        orphans = assemble(settings, store, runtimes, workspaces, _now)
        self._orphans = orphans.timer
        doctor = Doctor(
            settings=settings,
            store=store,
            runtimes=runtimes,
            workspaces=workspaces,
            engine=cache(lambda: docker_view(settings)),
            credentials=credentials.read,
            heard=self._links.all_heard,
            orphans=lambda: orphans.survey.look().as_list(),
        )
        self._server = StreamServer(
            settings.controller_socket,
            [
                *InstanceStreams(store.instances.get, preview, runtimes).routes(),
                *CheckStreams(doctor).routes(),
                *OrphanStreams(orphans.survey, orphans.sweeper).routes(),
                *snapshots.routes(),
            ],
        )

    def _wake(self, name: str) -> None:
        self._instances.queue.add(Request(name))

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; instances keep running after that, nothing depends on this process."""
        self._repositories.start()
        self._instances.start()
        self._usage.start()
        self._disk.start()
        self._orphans.start()
        self._server.start()
        logger.info("controller started")
        while not stop.wait(WAKE_SECONDS):
            pass  # a signal that comes just before a wait is only handled after it
        self._server.stop()
        self._orphans.stop()
        self._disk.stop()
        self._usage.stop()
        self._instances.stop()
        self._repositories.stop()
        self._links.close()
        logger.info("controller stopped")


def run(
    settings: Settings,
    stop: threading.Event,
    *,
    standby: bool = False,
    lost: Callable[[Terminal], object] | None = None,
) -> None:
    """Open what the controller works with and run it until ``stop`` is set.

    Args:
        settings: where everything is.
        stop: set from outside, to end.
        standby: wait for the controller that is there, and follow it when it dies or falls silent.
        lost: called from any thread when another controller has taken over; it must end this process, or at least
            everything it does, at once. Default: :func:`end_at_once`.

    Raises:
        CcoError: something it cannot start without is missing; the message says the way out.
    """
    lost = lost or end_at_once
    credentials = Credentials.from_environment()
    prepare_state_directory(settings)
    lease = settings.lease_seconds
    lock = wait_for(settings.state_dir, lease, stop) if standby else take(settings.state_dir)
    if lock is None:
        return
    try:
        with heartbeat(lock, lost, min(HEARTBEAT_SECONDS, lease / 10)):
            store = _claimed(settings.database, lock.holder, lost, stop)
            if store is None:
                return
            try:
                runtimes = Runtimes.from_settings(settings, store.installation_id)
                Application(settings, store, runtimes, credentials).run(stop)
            finally:
                store.close()
    finally:
        lock.release()


def _claimed(path: Path, holder: str, lost: Callable[[Terminal], object], stop: threading.Event) -> Store | None:
    """Return the store, claimed; what is only in the way for now is waited out. ``None`` when ``stop`` was set."""
    while True:
        try:
            store = Store.open(path)
            try:
                store.claim(holder, lost)
            except BaseException:
                store.close()
                raise
        except Retryable as error:
            logger.warning("database not ready: %s", error.message, extra={"cco_reason": error.reason})
            if stop.wait(error.delay or 1.0):
                return None
        else:
            return store


def end_at_once(error: Terminal) -> NoReturn:
    """Say why and end the process without any clean-up: what would be tidied up is somebody else's by now."""
    print(f"controller: {error.reason}: {error.message}", file=sys.stderr, flush=True)  # noqa: T201  # see main
    os._exit(1)


def stop_at_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set.

    Not from the handler itself: it may interrupt this thread while it holds the event's own lock, and would then
    wait for itself for ever. A ``SimpleQueue`` may be put to from anywhere.
    """
    stop = threading.Event()
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def relay() -> None:
        arrived.get()
        stop.set()

    threading.Thread(target=relay, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda arrived_number, _: arrived.put(arrived_number))
    return stop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controller", description="The cc-orchestrator controller.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    runs = commands.add_parser("run", help="run the loop until SIGTERM or SIGINT")
    runs.add_argument("--standby", action="store_true", help="wait for the controller that is there, and follow it")
    rebuilds = commands.add_parser(
        "rebuild", help="put a lost or damaged database together again from what stands beside it; says what first"
    )
    rebuilds.add_argument("--yes", action="store_true", help="do it")
    rebuilds.add_argument(
        "--without-runtimes", dest="with_runtimes", action="store_false", help="go by the files alone"
    )
    rebuilds.add_argument("--installation", metavar="ID", help="the installation's id, if no file tells it any more")
    for command in (runs, rebuilds):
        add_flags(command)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    flags = vars(_parser().parse_args(arguments))
    command = flags.pop("command")
    own = {key: flags.pop(key) for key in ("standby", "yes", "with_runtimes", "installation") if key in flags}
    os.umask(0o077)
    stop = stop_at_signals()
    try:
        settings = load_settings(**flags)
        configure_logging(settings.log_level)
        if command == "rebuild":
            rebuild(settings, print, **own)
        else:
            run(settings, stop, **own)
    except CcoError as error:
        print(f"controller: {error.reason}: {error.message}", file=sys.stderr)  # noqa: T201  # the entry point's own words
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
