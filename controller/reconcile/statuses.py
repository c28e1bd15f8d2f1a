"""What becomes of a status by what was seen and done; pure. Conditions and failures have modules of their own."""

from __future__ import annotations

from controller.agents import Heard
from controller.resources import Instance, InstanceStatus, WorkloadStatus, WorkspaceStatus
from controller.runtime.protocol import Workload
from controller.workspace.types import Presence, WorkspaceState

from .conditions import running
from .observed import Observed, Wanted


def as_started(instance: Instance, status: InstanceStatus) -> Instance:
    """Return the instance as suspended no more if it was started in this pass: what ends from now on ends by itself.

    Otherwise one whose session ends at once would count as being resumed for ever, and be started for ever.
    """
    before = instance.status
    if (before.attempt, before.restarts) == (status.attempt, status.restarts):
        return instance
    conditions = tuple(condition for condition in before.conditions if condition.type != "Suspended")
    return instance.model_copy(update={"status": before.model_copy(update={"conditions": conditions})})


def with_place(instance: Instance, wanted: Wanted, seen: WorkspaceState) -> Instance:
    """Return the instance with the place of a workspace that was made by a controller that did not live to say so."""
    if instance.status.workspace is not None or seen.presence not in {Presence.READY, Presence.BROKEN}:
        return instance
    return instance.model_copy(update={"status": with_workspace(instance.status, wanted)})


def with_facts(status: InstanceStatus, observed: Observed) -> InstanceStatus:
    """Return the status with what the look showed of the parts."""
    workload = observed.workloads[0] if observed.workloads else None
    alive = running(observed)
    heard: Heard | None = observed.heard if alive is not None else None
    return status.model_copy(
        update={
            "workload": _workload_status(workload) if workload is not None else None,
            "workspace": _workspace_status(status.workspace, observed.workspace),
            "session": heard.report.session_status() if heard is not None else None,
            # Written without a pass from now on; a pass that began before the first time must not erase it.
            "usage": (status.usage or heard.report.usage_status()) if heard is not None else None,
            "started_at": alive.started_at if alive is not None else None,
        }
    )


def _workload_status(workload: Workload) -> WorkloadStatus:
    return WorkloadStatus(
        name=workload.name,
        id=workload.id,
        attempt=workload.attempt,
        state=str(workload.state),
        image_id=workload.image_id,
        started_at=workload.started_at,
    )


def _workspace_status(known: WorkspaceStatus | None, seen: WorkspaceState | None) -> WorkspaceStatus | None:
    """Take over what the look tells; where it was made and what was collected stays as recorded."""
    if known is None or seen is None or seen.presence is Presence.FOREIGN:
        return known
    facts = {"base_commit": seen.base_commit, "head": seen.head, "ahead": seen.ahead, "snapshot": seen.snapshot}
    return known.model_copy(update={key: value for key, value in facts.items() if value is not None})


def with_workspace(status: InstanceStatus, wanted: Wanted, **changes: object) -> InstanceStatus:
    """Return the status with the workspace's place, and with those facts that are known."""
    ref = wanted.ref
    before = status.workspace or WorkspaceStatus(path=ref.worktree, git_dir=ref.private, branch=ref.branch)
    known = {key: value for key, value in changes.items() if value is not None}
    return status.model_copy(update={"workspace": before.model_copy(update=known)})
