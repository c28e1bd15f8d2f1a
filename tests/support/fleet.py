"""A fleet on the screen without anything behind it: declared through the API, reported as the controller would.

Used by the dashboard's tests and for the picture in the README.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from api.client import Client
from controller.reconcile.actions import Plan
from controller.resources import (
    Condition,
    ConditionStatus,
    EventType,
    Instance,
    InstanceManifest,
    InstanceStatus,
    Kind,
    ManifestMetadata,
    RepositoryManifest,
    RepositorySpec,
    RepositoryStatus,
    SessionState,
    SessionStatus,
    Usage,
    WorkloadStatus,
    WorkspaceStatus,
)
from controller.runtime.choice import only
from controller.store import Store
from controller.streams import StreamServer
from controller.streams.instances import InstanceStreams

from .fake_runtime import FakeRuntime

MiB = 1024**2


def ago(**duration: float) -> datetime:
    """Return an instant in the past."""
    return datetime.now(UTC) - timedelta(**duration)


@dataclass(frozen=True, slots=True)
class Report:
    """What the controller last saw of an instance, in the few words a test needs."""

    session: SessionState | None = SessionState.IDLE
    tool: str | None = None
    waiting_for: str | None = None
    ready: ConditionStatus = ConditionStatus.TRUE
    reason: str = "Ready"
    message: str = ""
    cpu_percent: float = 0.0
    memory: int = 300 * MiB
    ahead: int = 0
    seconds: float = 30


def condition(type_: str, status: ConditionStatus, reason: str, message: str = "", seconds: float = 60) -> Condition:
    """Return a condition that has been so for some seconds."""
    since = ago(seconds=seconds)
    return Condition(type=type_, status=status, reason=reason, message=message, last_transition_at=since)


def register(client: Client, store: Store, name: str) -> None:
    """Register a repository and report it ready."""
    manifest = RepositoryManifest(
        metadata=ManifestMetadata(name=name), spec=RepositorySpec(path=f"/home/dev/src/{name}", base_branch="main")
    )
    made = client.create_repository(manifest)
    ready = condition("Ready", ConditionStatus.TRUE, "Ready")
    store.repositories.update_status(made.metadata.uid, RepositoryStatus(conditions=(ready,), default_branch="main"))


def declare(client: Client, name: str, repository: str, **spec: Any) -> Instance:  # noqa: ANN401 - any field of a spec
    """Declare an instance."""
    manifest = {"metadata": {"name": name}, "spec": {"repository": repository, **spec}}
    return client.create_instance(InstanceManifest.model_validate(manifest))


def report(store: Store, name: str, seen: Report) -> None:
    """Write what the controller would write after a pass that saw this."""
    instance = store.instances.get(name)
    store.instances.update_status(instance.metadata.uid, status_of(instance, seen))


def status_of(instance: Instance, seen: Report) -> InstanceStatus:
    """Return the status of an instance of which this was seen."""
    name = instance.metadata.name
    up = ConditionStatus.TRUE if seen.session is not None else ConditionStatus.FALSE
    conditions = (
        condition("WorkspaceReady", ConditionStatus.TRUE, "Ready", seconds=900),
        condition("WorkloadRunning", up, "Running" if seen.session else "Absent", f"cco-{name}-1", seconds=890),
        condition("SessionReady", up, "SessionUp" if seen.session else "NotRunning", seconds=880),
        condition("AgentHealthy", up, "Reporting" if seen.session else "NotRunning", seconds=879),
        condition("Ready", seen.ready, seen.reason, seen.message, seconds=seen.seconds),
    )
    session = None
    usage = None
    if seen.session is not None:
        session = SessionStatus(
            state=seen.session, since=ago(seconds=seen.seconds), tool=seen.tool, waiting_for=seen.waiting_for
        )
        usage = Usage(
            cpu_percent=seen.cpu_percent,
            memory_bytes=seen.memory,
            memory_limit_bytes=instance.spec.resources.memory,
            pids=23,
            at=datetime.now(UTC),
        )
    return InstanceStatus(
        observed_generation=instance.metadata.generation,
        conditions=conditions,
        attempt=1,
        session=session,
        usage=usage,
        workload=WorkloadStatus(name=f"cco-{name}-1", id="c0ffee", attempt=1, state="running"),
        workspace=WorkspaceStatus(
            path=f"/home/dev/src/{instance.spec.repository}.worktrees/{name}",
            git_dir=f"/home/dev/.local/state/cc-orchestrator/instances/{name}/git",
            branch=instance.branch,
            head="9f2c1ab77d0e4e7ab1d5",
            ahead=seen.ahead,
        ),
    )


def tell(store: Store, name: str, reason: str, message: str, type_: EventType = EventType.NORMAL) -> None:
    """Record an event of an instance."""
    uid = store.instances.get(name).metadata.uid
    store.events.record(Kind.INSTANCE, name, uid, type_, reason, message)


class ReportedRuntime(FakeRuntime):
    """Has the containers that :func:`report` speaks of."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def attach_argv(self, uid: str, argv: Sequence[str]) -> tuple[str, ...]:
        name = self._store.instances.get_by_uid(uid).metadata.name
        return ("docker", "exec", "-it", f"cco-{name}-1", *argv)


@contextmanager
def controller_socket(path: Path, store: Store) -> Iterator[None]:
    """Answer on the controller's socket while the block runs, as the controller does."""
    server = StreamServer(
        path, InstanceStreams(store.instances.get, lambda _: Plan(), only(ReportedRuntime(store))).routes()
    )
    server.start()
    try:
        yield
    finally:
        server.stop()
