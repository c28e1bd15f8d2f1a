"""Values for tests of the pure functions: one healthy instance, and every part of the look at it replaceable.

``Look()`` is an instance whose container runs, whose Claude is idle, and for which nothing is to be done. A test
names what is different and asks for the plan or the conditions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from controller.agents import Heard, Report
from controller.reconcile.actions import Plan
from controller.reconcile.observed import DiskVerdict, Observed, Pace, Wanted, work_out
from controller.reconcile.plan import plan
from controller.resources import (
    Condition,
    ConditionStatus,
    Input,
    Instance,
    InstanceStatus,
    Repository,
    set_condition,
)
from controller.runtime.protocol import Workload, WorkloadState
from controller.settings import Settings
from controller.workspace.types import Presence, WorkspaceState

UID = "7d0e9a46-7a5f-4b8e-9c69-5d1c5a3f2b10"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STARTED = NOW - timedelta(minutes=5)
PACE = Pace(heartbeat=5.0)
SETTINGS = Settings(state_dir=Path("/state"))


def ago(**duration: float) -> datetime:
    return NOW - timedelta(**duration)


def repository(
    status: ConditionStatus | None = ConditionStatus.TRUE, reason: str = "Ready", message: str = ""
) -> Repository:
    """Return the repository ``shop``; ``None``: it was never looked at."""
    conditions: tuple[Condition, ...] = ()
    if status is not None:
        conditions = set_condition((), "Ready", status, reason, message, generation=1, now=STARTED)
    return Repository.model_validate(
        {
            "metadata": {"name": "shop", "uid": "uid-of-shop", "created_at": STARTED},
            "spec": {"path": "/repositories/shop"},
            "status": {"conditions": conditions, "owner_uid": 1000, "owner_gid": 1000},
        }
    )


def healthy_status(**changes: object) -> InstanceStatus:
    """Return the status of the healthy instance: attempt 1, its commits brought home."""
    workspace = {
        "path": "/repositories/shop.worktrees/web",
        "git_dir": "/state/instances/web/git",
        "branch": "web",
        "collected_refs": "refs-1",
    }
    return InstanceStatus.model_validate({"attempt": 1, "workspace": workspace, **changes})


def instance(deleting: bool = False, status: InstanceStatus | None = None, **spec: object) -> Instance:  # noqa: FBT001, FBT002  # reads as a row of a table
    return Instance.model_validate(
        {
            "metadata": {
                "name": "web",
                "uid": UID,
                "created_at": STARTED,
                "generation": 3,
                "deletion_requested_at": NOW if deleting else None,
            },
            "spec": {"repository": "shop", **spec},
            "status": status if status is not None else healthy_status(),
        }
    )


def wanted(of: Instance) -> Wanted:
    return work_out(of, repository(), SETTINGS, attempt=of.status.attempt)


def workload(state: WorkloadState = WorkloadState.RUNNING, **changes: Any) -> Workload:  # noqa: ANN401  # any field
    """Return the container of attempt 1, made for the healthy instance."""
    expected = wanted(instance())
    made = Workload(
        id="c0ffee",
        name="cco-web-1",
        instance="web",
        uid=UID,
        attempt=1,
        state=state,
        spec_hash=expected.spec_hash,
        limits=expected.limits,
        started_at=STARTED,
    )
    return replace(made, **changes)


def exited(code: int | None = 1, **changes: Any) -> Workload:  # noqa: ANN401  # any field
    return workload(WorkloadState.EXITED, exit_code=code, finished_at=ago(seconds=1), **changes)


def report(state: str = "idle", *, session: dict[str, object] | None = None, **changes: object) -> Report:
    """Return what the agent of the healthy instance says."""
    body: dict[str, object] = {
        "type": "report",
        "schema": 1,
        "uid": UID,
        "attempt": 1,
        "boot": "b00t",
        "seq": 1,
        "sent_at": NOW,
        "config_hash": wanted(instance()).config.config_hash,
        "session": {"state": state, "since": STARTED, **(session or {})},
        "refs_version": "refs-1",
        "credentials": "present",
    }
    return Report.model_validate({**body, **changes})


def heard(
    state: str = "idle",
    *,
    age: float = 1.0,
    connected: bool = True,
    handed_over: Iterable[str] = (),
    session: dict[str, object] | None = None,
    **changes: object,
) -> Heard:
    return Heard(report(state, session=session, **changes), age, connected, frozenset(handed_over))


def prompt(id_: str = "input-1") -> Input:
    return Input(id=id_, instance="web", uid=UID, text="go on", created_at=STARTED)


def workspace(presence: Presence = Presence.READY, **changes: Any) -> WorkspaceState:  # noqa: ANN401  # any field
    return WorkspaceState(presence, **changes)


@dataclass(frozen=True)
class Look:
    """An instance and one look at it; the defaults are the healthy one."""

    instance: Instance = field(default_factory=instance)
    repository: Repository | None = field(default_factory=repository)
    workspace: WorkspaceState | None = field(default_factory=workspace)
    workloads: tuple[Workload, ...] = field(default_factory=lambda: (workload(),))
    heard: Heard | None = field(default_factory=heard)
    inputs: tuple[Input, ...] = ()
    credentials: bool = True
    listening_for: float = 3600.0
    disk: DiskVerdict = field(default_factory=DiskVerdict)

    def but(self, **changes: Any) -> Self:  # noqa: ANN401  # any field
        return replace(self, **changes)

    @property
    def observed(self) -> Observed:
        return Observed(
            repository=self.repository,
            workspace=self.workspace,
            workloads=self.workloads,
            heard=self.heard,
            inputs=self.inputs,
            credentials=self.credentials,
            listening_for=self.listening_for,
            disk=self.disk,
        )

    @property
    def wanted(self) -> Wanted | None:
        """What the reconciler would work out: nothing while the repository is not ready."""
        return wanted(self.instance) if self.workspace is not None else None

    def plan(self) -> Plan:
        return plan(self.instance, self.observed, self.wanted, PACE, now=NOW)
