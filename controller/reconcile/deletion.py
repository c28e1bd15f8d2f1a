"""The order of a deletion: stop, save what is there then, remove container, worktree, HOME; the row goes last.

Pure, like ``plan``, which comes here for every instance that was asked to go. Each step is planned from what is there
now, so a deletion that was cut off anywhere goes on from where it is.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from controller.resources import Instance, WorktreePolicy
from controller.runtime.protocol import WorkloadState
from controller.workspace.types import Presence, Unsaved, WorkspaceState

from .actions import (
    Action,
    Blocked,
    CollectCommits,
    Plan,
    Release,
    RemoveHome,
    RemoveWorkload,
    RemoveWorkspace,
    SnapshotWork,
    StopWorkload,
)
from .observed import Observed

_WHY = "the instance is being deleted"

PATIENCE = timedelta(minutes=5)
"""So long saving is tried again where only a passing trouble is in its way, although the work was given up by name."""


def delete(instance: Instance, observed: Observed, workspace: WorkspaceState) -> Plan:
    """Return the next step of a deletion whose repository can be looked at."""
    lost = _lost(observed)
    if lost is not None:
        return lost
    discard = instance.metadata.discard_work
    if any(workload.state.alive for workload in observed.workloads):
        return Plan((StopWorkload(_WHY),))  # files are saved once nobody changes them any more (ADR 0010)
    save = _unsaved(workspace, or_lose=discard)
    stopped = (RemoveWorkload(_WHY),) if observed.workloads else ()
    ended = (*_bring_home(workspace, or_lose=discard), *save, *stopped)
    if save and not discard:
        return Plan(ended)  # the next pass looks whether everything is saved now
    place: tuple[Action, ...] = ()
    if workspace.presence in {Presence.READY, Presence.BROKEN}:
        keep = instance.spec.worktree_policy is WorktreePolicy.RETAIN
        what = "the worktree is kept by worktree_policy" if keep else "everything in it is in the repository"
        place = (RemoveWorkspace(keep, what, or_lose=discard),)
    return Plan((*ended, *place, RemoveHome(_WHY), Release("nothing of the instance is left")))


def is_given_up(instance: Instance, now: datetime) -> bool:
    """Tell whether what cannot be saved for the moment is lost now: it was given up, and tried long enough."""
    meta = instance.metadata
    if not meta.discard_work or meta.deletion_requested_at is None:
        return False
    return not timedelta(0) <= now - meta.deletion_requested_at < PATIENCE  # less than 0: the clock was set back since


def delete_without_repository(instance: Instance, observed: Observed, why: Blocked, now: datetime) -> Plan:
    """Return the next step of a deletion whose repository is out of sight.

    Nothing can be saved into it, so nothing but a stop is done, unless nothing was ever made or the owner gave the
    work up by name. Even then worktree and private git directory stay where they are: ``cco gc`` tells of them.
    """
    lost = _lost(observed)
    if lost is not None:
        return lost
    never_made = instance.status.workspace is None and not observed.workloads
    if never_made:
        return Plan((RemoveHome("nothing was ever made"), Release("nothing of the instance is left")))
    stop = (StopWorkload(_WHY),) if any(workload.state.alive for workload in observed.workloads) else ()
    if not instance.metadata.discard_work:
        name = instance.metadata.name
        way_out = f"or give its unsaved work up: 'cco delete instance {name} --discard-work'"
        message = f"{why.message}; its work cannot be saved until then, {way_out}"
        return Plan(stop, Blocked(why.reason, message, why.unknown))
    if why.unknown and not is_given_up(instance, now):  # the next look may see it
        return Plan(stop, why)
    if stop:
        return Plan(stop)
    gone = (RemoveWorkload(_WHY),) if observed.workloads else ()
    return Plan((*gone, RemoveHome(_WHY), Release("its repository is out of sight; its folders stay for 'cco gc'")))


def _lost(observed: Observed) -> Plan | None:
    """Return the plan for a workload that may still be running somewhere; removing it would prove nothing."""
    if any(workload.state is WorkloadState.LOST for workload in observed.workloads):
        return Plan(blocked=Blocked("WorkloadLost", "the place it runs on is silent; it may still be running there"))
    return None


def _unsaved(workspace: WorkspaceState, *, or_lose: bool) -> tuple[Action, ...]:
    """Plan a snapshot unless a look proved that there is nothing to save."""
    if workspace.presence in {Presence.ABSENT, Presence.FOREIGN}:
        return ()
    saved = workspace.unsaved in {Unsaved.NONE, Unsaved.SNAPSHOTTED}
    return () if saved else (SnapshotWork(_WHY, or_lose=or_lose),)


def _bring_home(workspace: WorkspaceState, *, or_lose: bool = False) -> tuple[Action, ...]:
    if workspace.presence in {Presence.ABSENT, Presence.FOREIGN}:
        return ()
    return (CollectCommits(None, "the last commits are brought home", or_lose=or_lose),)
