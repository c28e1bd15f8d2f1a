"""The decision: from what is wanted and what is there to what to do next. Pure: no I/O, no clock, no logging.

Read :func:`plan` first; each function below it answers for one situation. Two rules shape all of them: what could
lose work or is not ours is ``blocked``, never acted on; and a plan may be cut off after any action, because the
next pass starts from what is there and not from what was planned.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from controller.agents import Heard
from controller.resources import Instance, OperatingMode, Parking, Repository, SessionState, find_condition
from controller.resources.conditions import ConditionStatus
from controller.runtime.protocol import Workload, WorkloadState
from controller.workspace.types import Presence, WorkspaceState

from .actions import (
    Action,
    Blocked,
    CollectCommits,
    CreateWorkload,
    DeliverInput,
    EnsureWorkspace,
    ParkWorkload,
    Plan,
    RemoveWorkload,
    ResolveInput,
    RestartWorkload,
    StartWorkload,
    StopWorkload,
    UpdateLimits,
)
from .deletion import delete, delete_without_repository
from .exits import HEALTHY_AFTER, is_final
from .holding import LOOK_AGAIN, QUEUE_SECONDS, held_back, start_requested
from .observed import Observed, Pace, Wanted

INPUT_NEEDED = "input needed"
_TURN_RUNS = frozenset({SessionState.WORKING, SessionState.WAITING})


def plan(instance: Instance, observed: Observed, wanted: Wanted | None, pace: Pace, *, now: datetime) -> Plan:
    """Return what to do next for one instance.

    Args:
        instance: with exits already accounted for (:func:`controller.reconcile.exits.account`).
        observed: one look at the world.
        wanted: ``None`` when the repository is not in a state to work anything out.
        pace: deadlines.
        now: the time of the look.
    """
    if any(workload.ending for workload in observed.workloads):
        return Plan(requeue_after=0.0)  # that is told; the next look waits until the runtime can say more
    if observed.repository is None or wanted is None or observed.workspace is None:
        return _without_repository(instance, observed, now)
    if instance.metadata.deletion_requested_at is not None:
        return delete(instance, observed, observed.workspace)
    obstacle = _obstacle(instance, observed, observed.workspace, wanted)
    if obstacle is not None:
        return Plan(blocked=obstacle)
    workload = observed.workloads[0] if observed.workloads else None
    if instance.spec.operating_mode is not OperatingMode.RUNNING:
        return _rest(instance, observed, workload)
    if instance.status.parked is not None:
        return _parked(instance.status.parked, instance, observed, workload)
    if workload is None:
        return _create(instance, observed, observed.workspace, now)
    return _be_running(instance, observed, wanted, workload, pace, now)


def _be_running(
    instance: Instance, observed: Observed, wanted: Wanted, workload: Workload, pace: Pace, now: datetime
) -> Plan:
    """It is to run, and there is a workload."""
    if workload.state is WorkloadState.RUNNING:
        return _keep_running(instance, observed, wanted, workload, pace, now)
    return _start_again(instance, observed, wanted, workload, now)


def _obstacle(instance: Instance, observed: Observed, workspace: WorkspaceState, wanted: Wanted) -> Blocked | None:
    """Return what must not be decided by a program."""
    if len(observed.workloads) > 1:
        names = ", ".join(workload.name for workload in observed.workloads)
        message = f"several workloads carry this instance's uid ({names}); remove those that should not be there"
        return Blocked("AmbiguousWorkload", message)
    if any(workload.state is WorkloadState.LOST for workload in observed.workloads):
        return Blocked("WorkloadLost", "the place it runs on is silent; it may still be running")
    if workspace.presence is Presence.FOREIGN and instance.spec.operating_mode is OperatingMode.RUNNING:
        message = f"{wanted.ref.worktree}: {workspace.detail}; move it away, or delete this instance"
        return Blocked("PathOccupied", message)
    return None


def _without_repository(instance: Instance, observed: Observed, now: datetime) -> Plan:
    """Nothing can be built, and nothing can be saved or removed either; a stop destroys nothing."""
    why = _why_no_repository(instance, observed.repository)
    if instance.metadata.deletion_requested_at is not None:
        return delete_without_repository(instance, observed, why, now)
    rests = instance.spec.operating_mode is not OperatingMode.RUNNING or instance.status.parked is not None
    if rests and len(observed.workloads) == 1 and observed.workloads[0].state.alive:
        return Plan((StopWorkload(_why_at_rest(instance)),), why)
    return Plan(blocked=why)


def _why_at_rest(instance: Instance) -> str:
    if instance.spec.operating_mode is not OperatingMode.RUNNING:
        return f"spec.operating_mode is {instance.spec.operating_mode}"
    parked = instance.status.parked
    return f"it is parked: {parked.message}" if parked is not None else ""


def _why_no_repository(instance: Instance, repository: Repository | None) -> Blocked:
    if repository is None:
        name = instance.spec.repository
        return Blocked(
            "RepositoryNotFound", f"spec.repository: no repository {name!r} is registered; run 'cco init' inside it"
        )
    ready = find_condition(repository.status.conditions, "Ready")
    if ready is None:
        message = f"waiting for the first look at repository {repository.metadata.name!r}"
        return Blocked("WaitingForRepository", message)
    unknown = ready.status is ConditionStatus.UNKNOWN
    return Blocked(ready.reason, f"repository {repository.metadata.name!r}: {ready.message}", unknown)


def _rest(instance: Instance, observed: Observed, workload: Workload | None) -> Plan:
    """Suspended keeps the stopped container; Stopped removes it too."""
    mode = instance.spec.operating_mode
    home = _collect_changed(instance, observed)
    if workload is None:
        return Plan(home)
    if workload.state.alive:
        return Plan((StopWorkload(_why_at_rest(instance)),))
    if mode is OperatingMode.SUSPENDED:
        return Plan(home)
    return Plan((RemoveWorkload("spec.operating_mode is Stopped"), *home))


def _parked(parked: Parking, instance: Instance, observed: Observed, workload: Workload | None) -> Plan:
    """It was stopped for a reason that only a person takes away."""
    if workload is not None and workload.state.alive:
        return Plan((StopWorkload(_why_at_rest(instance)),))
    return Plan(_collect_changed(instance, observed), Blocked(parked.reason, parked.message))


def _create(instance: Instance, observed: Observed, workspace: WorkspaceState, now: datetime) -> Plan:
    """There is no workload: make the workspace and the next attempt."""
    steps = _ensure_workspace(workspace)
    held = held_back(instance, observed, now)
    if held is not None:
        return Plan(steps, held.blocked, held.requeue_after)
    attempt = instance.status.attempt + 1
    reason = "first start" if attempt == 1 else "its workload is gone"
    return Plan((*steps, CreateWorkload(attempt, reason)))


def _start_again(instance: Instance, observed: Observed, wanted: Wanted, workload: Workload, now: datetime) -> Plan:
    """There is a workload that does not run: let it rest, wait, start it, or replace it."""
    if workload.state is WorkloadState.PAUSED:
        return Plan((StartWorkload("it was paused"),))
    asked = start_requested(instance)
    last = instance.status.last_exit
    ended = workload.state is WorkloadState.EXITED and last is not None and last.workload_id == workload.id
    home = _collect_changed(instance, observed)
    if ended and last is not None and is_final(instance, last) and not asked and not _just_resumed(instance):
        reason = "Completed" if last.exit_code == 0 else last.reason
        message = f"{last.message}; restart_policy is {instance.spec.restart_policy} ('cco restart' starts it again)"
        return Plan(home, Blocked(reason, message))
    held = held_back(instance, observed, now)
    if held is not None:
        return Plan(home, held.blocked, held.requeue_after)
    workspace = observed.workspace
    steps = _ensure_workspace(workspace) if workspace is not None else ()
    if workload.spec_hash != wanted.spec_hash:
        return Plan((*steps, *_replace(instance, workload, "the spec changed"), *home))
    if workload.attempt < instance.status.attempt:
        return Plan((*steps, *_replace(instance, workload, "the one that was made after it is gone"), *home))
    reason = "it was created but never started"
    if ended and last is not None:
        reason = "spec.operating_mode is Running again" if _just_resumed(instance) else last.message
    return Plan((*steps, StartWorkload(reason), *home))


def _just_resumed(instance: Instance) -> bool:
    """An instance that was suspended and is to run again ended because it was told to, not by itself."""
    suspended = find_condition(instance.status.conditions, "Suspended")
    return suspended is not None and suspended.status is ConditionStatus.TRUE


def _ensure_workspace(workspace: WorkspaceState) -> tuple[Action, ...]:
    if workspace.presence is Presence.READY:
        return ()
    return (EnsureWorkspace(workspace.detail or "it does not exist yet"),)


def _replace(instance: Instance, workload: Workload, why: str) -> tuple[Action, ...]:
    attempt = max(instance.status.attempt, workload.attempt) + 1
    return (RemoveWorkload(why), CreateWorkload(attempt, why))


def _keep_running(
    instance: Instance, observed: Observed, wanted: Wanted, workload: Workload, pace: Pace, now: datetime
) -> Plan:
    """The workload runs: carry out what changed, bring commits home, deliver prompts."""
    workspace, heard = observed.workspace, observed.heard
    if workspace is not None and workspace.presence is not Presence.READY:
        # A running container would keep the dead folder: stop first, the next pass makes it again.
        failure = "NeedsRepair" if _was_stopped_lately(instance, now) else ""
        return Plan((StopWorkload(f"the worktree needs repair: {workspace.detail}", failure),))
    evicted = _evict(instance, observed)
    if evicted is not None:
        return Plan((evicted,))
    if instance.spec.restart_generation > instance.status.restarted_generation:
        return _in_turn(observed, (RestartWorkload("a restart was asked for"),))
    overdue = _overdue(instance, observed, workload, pace, now)
    if overdue is not None:
        return overdue
    drift = _drift(instance, wanted, workload, heard)
    waits = _why_drift_waits(instance, observed, pace, now)
    if drift and waits is None:
        return _in_turn(observed, drift)
    # None of these waits for another (``is_beside``).
    steps = [*_inputs(observed), *_collect_changed(instance, observed)]
    if workload.limits != wanted.limits:
        steps.append(UpdateLimits(wanted.limits, "spec.resources changed"))
    if drift and waits is not None:
        message = f"the spec changed in a way that needs a restart; {waits.message}"
        return Plan(tuple(steps), Blocked("Draining", message), waits.seconds)
    return Plan(tuple(steps), requeue_after=_next_look(workload, observed, pace, now))


def _was_stopped_lately(instance: Instance, now: datetime) -> bool:
    """Tell whether the run before was ended on purpose a short time ago.

    A repair that follows counts as a failure: something in the box may break the worktree at every start.
    """
    last = instance.status.last_exit
    return last is not None and last.asked and now - last.finished_at < HEALTHY_AFTER


class _Wait(NamedTuple):
    message: str
    seconds: float | None


def _why_drift_waits(instance: Instance, observed: Observed, pace: Pace, now: datetime) -> _Wait | None:
    """Return what a restart for a changed spec waits for: it ends a session that is well, and must bring one back.

    A controller that has just started, and one whose connection to the agent broke, does not know whether a turn
    runs: the agent has as much time to say so as it has before it counts as silent.
    """
    heard = observed.heard
    patience = pace.silent_after - (observed.listening_for if heard is None else heard.age)
    if heard is None and patience > 0:
        return _Wait("Claude may be in the middle of a turn, its agent has not been heard yet", patience)
    if heard is not None and heard.report.session.state in _TURN_RUNS and (heard.connected or patience > 0):
        return _Wait("it is done when Claude's turn ends", None if heard.connected else patience)
    held = held_back(instance, observed, now)
    if held is None or held.blocked is None or held.blocked.reason == "StartQueued":
        return None
    return _Wait(f"it waits, because none could be started now: {held.blocked.message}", held.requeue_after)


def _in_turn(observed: Observed, actions: tuple[Action, ...]) -> Plan:
    """Restart now, or stay up and wait for the turn."""
    if observed.queue is None:
        return Plan(actions)
    return Plan(blocked=Blocked("StartQueued", observed.queue), requeue_after=QUEUE_SECONDS)


def _evict(instance: Instance, observed: Observed) -> ParkWorkload | None:
    """Return the stop of an instance that fills the disk, its own share of it or the machine's."""
    if observed.disk.evict is not None:
        return ParkWorkload("DiskPressure", observed.disk.evict)
    usage = observed.heard.report.usage if observed.heard is not None else None
    held = (usage.worktree_bytes or 0) + (usage.home_bytes or 0) if usage is not None else 0
    allowed, name = instance.spec.resources.disk, instance.metadata.name
    if held <= allowed:
        return None
    message = (
        f"its worktree, git directory and HOME hold {held // 1024**2} MiB, and spec.resources.disk allows "
        f"{allowed // 1024**2} MiB; nothing was removed. Free some, or raise it, then 'cco retry {name}'"
    )
    return ParkWorkload("DiskExceeded", message)


def _drift(instance: Instance, wanted: Wanted, workload: Workload, heard: Heard | None) -> tuple[Action, ...]:
    if workload.spec_hash != wanted.spec_hash:
        return (StopWorkload("the spec changed"), *_replace(instance, workload, "the spec changed"))
    if heard is not None and heard.report.config_hash != wanted.config.config_hash:
        return (RestartWorkload("the spec changed"),)
    return ()


def _overdue(instance: Instance, observed: Observed, workload: Workload, pace: Pace, now: datetime) -> Plan | None:
    """Restart a workload that runs but does not come up, or has gone silent, past its deadline.

    A controller that has just started has heard nobody yet, so its own time of listening counts too.
    """
    heard = observed.heard
    starting = heard is None or heard.report.session.state is SessionState.STARTING
    if starting:
        deadline, failure = pace.start_deadline, "SessionNotStarted"
        began = workload.started_at if heard is None else heard.report.session.since
        late = began is not None and now - began >= deadline and observed.listening_for >= deadline.total_seconds()
        message = f"the session was not up after {deadline.seconds} s"
    else:
        deadline, failure = pace.silence_deadline, "NoSignal"
        late = heard is not None and heard.age >= deadline.total_seconds()
        message = f"its agent was silent for {deadline.seconds} s"
    if not late or not observed.credentials:
        return None
    return held_back(instance, observed, now) or Plan((RestartWorkload(message, failure),))


def _next_look(workload: Workload, observed: Observed, pace: Pace, now: datetime) -> float | None:
    """Return when time alone changes something: a start or a silence past its deadline.

    That an agent becomes silent is noticed for all of them at once (``silence.SilenceWatch``).
    Past a deadline nothing is imminent: what holds the restart back is looked at again after a while.
    """
    heard = observed.heard
    if heard is None or heard.report.session.state is SessionState.STARTING:
        began = workload.started_at if heard is None else heard.report.session.since
        by_the_clock = ((began or now) + pace.start_deadline - now).total_seconds()
        left = max(by_the_clock, pace.start_deadline.total_seconds() - observed.listening_for)
    elif heard.age < pace.silent_after:
        return None
    else:
        left = pace.silence_deadline.total_seconds() - heard.age
    return max(left, 1.0) if left > 0 else LOOK_AGAIN


def _collect_changed(instance: Instance, observed: Observed) -> tuple[Action, ...]:
    """Bring commits home when the agent says that a ref moved since the last time."""
    workspace = instance.status.workspace
    version = observed.heard.report.refs_version if observed.heard is not None else None
    if workspace is None or version is None or version == workspace.collected_refs:
        return ()
    return (CollectCommits(version, "the agent's branches moved"),)


def _inputs(observed: Observed) -> tuple[Action, ...]:
    """Record answers, then hand over the oldest open prompt if Claude is in a state to take one."""
    heard = observed.heard
    if heard is None:
        return ()
    open_ids = {waiting.id for waiting in observed.inputs}
    answers = {answer.id: answer for answer in heard.report.inputs if answer.id in open_ids}
    resolved = tuple(ResolveInput(answer, f"prompt {answer.state} by Claude") for answer in answers.values())
    waiting = next((entry for entry in observed.inputs if entry.id not in answers), None)
    if waiting is None or waiting.id in heard.handed_over or not heard.connected or not takes_input(heard):
        return resolved
    return (*resolved, DeliverInput(waiting, "a prompt waits"))


def takes_input(heard: Heard) -> bool:
    """Tell whether typing reaches Claude's prompt and nothing else; a permission dialog must never get it."""
    session = heard.report.session
    if session.state is SessionState.IDLE:
        return True
    return session.state is SessionState.WAITING and session.waiting_for == INPUT_NEEDED


_NO_BEGINNING = frozenset({"EmptyRepository", "BaseBranchNotFound"})
"""What keeps a branch from being begun in a repository, and nothing else."""


def repository_ready(repository: Repository, instance: Instance) -> bool:
    """Tell whether the instance's workspace can be looked at, or made, in the repository."""
    ready = find_condition(repository.status.conditions, "Ready")
    if ready is None:
        return False
    begun = instance.status.workspace is not None
    return ready.status is ConditionStatus.TRUE or (
        begun and ready.status is ConditionStatus.FALSE and ready.reason in _NO_BEGINNING
    )
