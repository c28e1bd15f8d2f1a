"""One pass of one instance, on one screen: observe, plan, act, observe again, conditions, status.

``loop`` calls :meth:`InstanceReconciler.reconcile` with a name; everything else is read anew. The decision is in
``plan``, the acts are in ``execute``, the report is in ``conditions``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from controller.agents import Agents, Heard
from controller.errors import CcoError, Fenced, NotFound, Retryable, Terminal
from controller.resources import (
    EventType,
    Instance,
    InstanceStatus,
    Kind,
    Repository,
    SessionState,
    Transition,
    find_condition,
)
from controller.resources.conditions import ConditionStatus
from controller.resources.instance import STOPPED_REASONS, TRANSITIONAL_REASONS
from controller.resources.quantity import format_bytes
from controller.runtime.choice import Runtimes
from controller.runtime.protocol import Workload
from controller.settings import Settings
from controller.workspace.types import Workspaces

from .actions import (
    Action,
    CreateWorkload,
    EnsureWorkspace,
    ParkWorkload,
    Plan,
    Release,
    RestartWorkload,
    StopWorkload,
)
from .brake import FleetBrake
from .conditions import Mishap, compute_conditions, is_beside, running
from .deadlines import time_left
from .execute import EventSink, Executor, InputSink, Rows
from .exits import account, run_mark, withdraw_end
from .loop import Request, Result
from .observed import DiskVerdict, Observed, Pace, Wanted, work_out
from .pacing import StartTurns
from .plan import plan, repository_ready
from .statuses import as_started, with_facts, with_place, with_workspace

logger = logging.getLogger(__name__)

_QUIET = (TRANSITIONAL_REASONS | STOPPED_REASONS | {"Deleting"}) - {"BackingOff"}
"""Reasons on the way somewhere; the acts that lead there have events of their own."""


_ENDS = (StopWorkload, ParkWorkload, RestartWorkload)


class Instances(Rows, Protocol):
    """The instances' rows."""

    def get(self, name: str) -> Instance:
        """Return the instance; raises NotFound."""

    def update_status(self, uid: str, status: InstanceStatus) -> bool:
        """Write the status if it differs; ``False`` when the row is gone."""


class Repositories(Protocol):
    """The repositories' rows."""

    def get(self, name: str) -> Repository:
        """Return the repository; raises NotFound."""


@dataclass(frozen=True, slots=True)
class InstanceReconciler:
    """Brings one instance a step nearer to its spec.

    Attributes:
        transaction: makes what the block writes one transaction: all or nothing.
        credentials: tells whether there is anything for Claude to log in with.
        disk: returns what the watch over the disk says about an instance, by uid.
        clock: the wall clock, in UTC.
    """

    instances: Instances
    repositories: Repositories
    inputs: InputSink
    events: EventSink
    transaction: Callable[[], AbstractContextManager[None]]
    workspaces: Workspaces
    runtimes: Runtimes
    links: Agents
    executor: Executor
    turns: StartTurns
    brake: FleetBrake
    disk: Callable[[str], DiskVerdict]
    credentials: Callable[[], bool]
    settings: Settings
    clock: Callable[[], datetime]

    @property
    def pace(self) -> Pace:
        """Deadlines from the settings."""
        return Pace(heartbeat=self.settings.heartbeat_seconds)

    def reconcile(self, request: Request) -> Result:
        """Do one pass; see the module's docstring."""
        try:
            instance = self.instances.get(request.name)
        except NotFound:
            self.turns.end(request.name)
            self.brake.forget(request.name)
            return Result()
        self._remember(instance)
        known_exit = instance.status.last_exit
        try:
            self.links.open(instance.metadata.name, instance.metadata.uid)
            instance, observed, wanted = self.observe(instance)
        except CcoError as error:
            self.turns.leave(request.name)  # or whoever nobody can look at would keep everybody behind it from starting
            self._report(instance, instance.status, None, Plan(), Mishap(error, None))
            raise
        decision = plan(instance, observed, wanted, self.pace, now=self.clock())
        if not any(isinstance(action, _ENDS) for action in decision.actions):
            instance = withdraw_end(instance, running(observed))
        if decision.actions and instance.status.last_exit != known_exit:
            # People see the end when it is seen, not when something has been done about it.
            told = self._report(instance, instance.status, observed, decision, None)
            instance = instance.model_copy(update={"status": told})
        acts = decision.actions
        status, mishap = self._act(instance, observed, decision, wanted)
        if mishap is None and any(isinstance(action, Release) for action in decision.actions):
            return Result()
        leaves = mishap is not None and isinstance(mishap.action, Release)
        if decision.actions and not leaves:  # a look would make again what a release has removed
            status, observed, decision = self._look_again(instance, status, observed, decision)
        status = self._report(instance, status, observed, decision, mishap)
        if mishap is not None:
            raise mishap.error
        if decision.actions:
            return Result(0.0, did=acts)
        return Result(_sooner(decision.requeue_after, status.transition, self.clock()))

    def _remember(self, instance: Instance) -> None:
        """Keep what was declared beside the database, too; a disk that is full must not hold up a stop."""
        try:
            self.executor.manifests.remember(instance)
        except Retryable as error:
            logger.warning(
                "not written down", extra={"cco_instance": instance.metadata.name, "cco_reason": error.reason}
            )

    def observe(self, instance: Instance, before: Observed | None = None) -> tuple[Instance, Observed, Wanted | None]:
        """Look at everything that belongs to an instance.

        Args:
            instance: as it is in the database, or as an act has left it.
            before: the same pass's look before it acted. What is planned after acts is only told, so this look reads
                neither the repository's row again nor, for an instance to be deleted, the worktree for unsaved work.

        A workspace is searched for unsaved work only when it is about to go: not while somebody may still write into
        it, nor where its work was given up, because what cannot be read must not keep it. That saving is tried all
        the same is the plan's part.

        Returns:
            The instance with exits and attempt taken over from the world, the look, and the spec worked out
            (``None`` when the repository is not in a state for that).

        Raises:
            Unavailable: something could not be looked at, so nothing may be concluded.
        """
        uid = instance.metadata.uid
        workloads = self.runtimes.of(instance).inspect(uid)
        only = workloads[0] if len(workloads) == 1 else None
        # Several claim to be it: which attempt counts is not taken from one that may be somebody else's.
        attempt = instance.status.attempt if only is None else max(instance.status.attempt, only.attempt)
        heard = _current(self.links.heard(uid), attempt, only, self.clock())
        carried_by = self.runtimes.name_of(instance) if workloads else instance.status.runtime
        status = instance.status.model_copy(update={"attempt": attempt, "runtime": carried_by})
        instance = instance.model_copy(update={"status": status})
        instance = instance.model_copy(update={"status": account(instance, only, heard, self.clock())})
        repository = before.repository if before is not None else self._repository(instance.spec.repository)
        wanted, workspace = None, None
        if repository is not None and repository_ready(repository, instance):
            wanted = work_out(instance, repository, self.settings, attempt=attempt)
            leaving = instance.metadata.deletion_requested_at is not None and not instance.metadata.discard_work
            deep = leaving and before is None and not any(workload.state.alive for workload in workloads)
            workspace = self.workspaces.inspect(wanted.ref, deep=deep)
            instance = with_place(instance, wanted, workspace)
        observed = Observed(
            repository=repository,
            workspace=workspace,
            workloads=workloads,
            heard=heard,
            inputs=tuple(self.inputs.pending(uid)),
            credentials=self.credentials(),
            listening_for=self.links.listening_for(uid),
            disk=self.disk(uid),
            brake=self.brake.holds(instance.metadata.name, self.clock()),
            queue=self.turns.queue(instance.metadata.name),
        )
        return instance, observed, wanted

    def _repository(self, name: str) -> Repository | None:
        try:
            return self.repositories.get(name)
        except NotFound:
            return None

    def _act(
        self, instance: Instance, observed: Observed, decision: Plan, wanted: Wanted | None
    ) -> tuple[InstanceStatus, Mishap | None]:
        """Carry out the plan until it is done or something is in the way of all that follows."""
        status, first = instance.status, None
        for action in decision.actions:
            try:
                status = self._foretell(action, instance, status, observed, wanted, decision)
                status = self.executor.execute(action, instance, status, wanted, self.clock())
            except CcoError as error:
                if not _is_known(instance, error):
                    self.executor.tell(instance, EventType.WARNING, error.reason, error.message)
                first = first or Mishap(error, action)
                if isinstance(error, Fenced) or not is_beside(instance, action):
                    break
        return status, first

    def _foretell(
        self,
        action: Action,
        instance: Instance,
        status: InstanceStatus,
        observed: Observed,
        wanted: Wanted | None,
        decision: Plan,
    ) -> InstanceStatus:
        """Write down, before an act, what nobody could find out afterwards if it were cut off."""
        told, alive = status, running(observed)
        if isinstance(action, _ENDS) and alive is not None:  # whoever finds it ended must know why
            told = status.model_copy(update={"ending": run_mark(alive)})
        elif isinstance(action, EnsureWorkspace) and wanted is not None and status.workspace is None:
            told = with_workspace(status, wanted)  # there may be one, should the repository be out of sight by then
        if status.runtime is None and any(isinstance(each, CreateWorkload) for each in decision.actions):
            # There may be one, and it has to be looked for where it is, whatever the spec or the settings say by then.
            told = told.model_copy(update={"runtime": self.runtimes.name_of(instance)})
        if told != status:
            self.instances.update_status(instance.metadata.uid, told)
        return told

    def _look_again(
        self, instance: Instance, status: InstanceStatus, before: Observed, decision: Plan
    ) -> tuple[InstanceStatus, Observed, Plan]:
        """Look at what the acts made of the world; if that fails, what is known is the look before."""
        acted = instance.model_copy(update={"status": status})
        try:
            acted, observed, wanted = self.observe(acted, before)
        except CcoError as error:
            logger.info("second look failed", extra={"cco_instance": instance.metadata.name, "cco_error": str(error)})
            return status, before, decision
        return acted.status, observed, plan(acted, observed, wanted, self.pace, now=self.clock())

    def _report(
        self,
        instance: Instance,
        status: InstanceStatus,
        observed: Observed | None,
        decision: Plan,
        mishap: Mishap | None,
    ) -> InstanceStatus:
        """Compute the status and write it, if it differs; tell what a person may want to know of the change."""
        now = self.clock()
        known = as_started(instance, status)
        conditions, step = compute_conditions(known, observed, decision, mishap, self.pace, now=now)
        status = status.model_copy(
            update={
                "conditions": conditions,
                "transition": step,
                "observed_generation": instance.metadata.generation,
            }
        )
        if observed is not None:
            status = with_facts(status, observed)
            status = self._tell_out_of_memory(instance, status, observed)
            held_by = mishap.error if mishap is not None else decision.blocked
            self._settle_turn(instance, observed, held_by.reason if held_by is not None else None)
        self.brake.saw(instance, status)
        self._write(instance, status)
        return status

    def _write(self, instance: Instance, status: InstanceStatus) -> None:
        """Write the status, if it differs, and with it the event that tells of it: neither is there without the other.

        There is one when ``Ready`` became true, or false for a reason a person may want to know.
        """
        meta = instance.metadata
        before = find_condition(instance.status.conditions, "Ready")
        after = find_condition(status.conditions, "Ready")
        same = after is None or (before is not None and (before.status, before.reason) == (after.status, after.reason))
        if after is None or same or after.reason in _QUIET:
            self.instances.update_status(meta.uid, status)
            return
        type_ = EventType.NORMAL if after.status is ConditionStatus.TRUE else EventType.WARNING
        told = after.message or "the session is up"
        with self.transaction():
            self.instances.update_status(meta.uid, status)
            self.events.record(Kind.INSTANCE, meta.name, meta.uid, type_, after.reason, told)

    def _settle_turn(self, instance: Instance, observed: Observed, held_by: str | None) -> None:
        """Give the turn to start back when the start is over, however it ended; or keep the place in the line."""
        name = instance.metadata.name
        if held_by == "StartQueued":
            self.turns.stand_in_line(name)
            return
        heard = observed.heard
        starting = heard is None or heard.report.session.state is SessionState.STARTING
        if running(observed) is None or not starting:
            self.turns.end(name)

    def _tell_out_of_memory(self, instance: Instance, status: InstanceStatus, observed: Observed) -> InstanceStatus:
        """Tell of processes that were killed for want of memory while the container lived on; return what was told."""
        kills = observed.heard.report.usage.oom_kills if observed.heard is not None else status.oom_kills
        if kills > status.oom_kills:
            memory = format_bytes(instance.spec.resources.memory)
            message = (
                f"a process ran out of memory ({memory} allowed) and was killed; Claude itself lives on. "
                "Raise spec.resources.memory if that goes on: it takes effect at once"
            )
            meta = instance.metadata
            self.events.record(Kind.INSTANCE, meta.name, meta.uid, EventType.WARNING, "OOMKilled", message)
        return status if kills == status.oom_kills else status.model_copy(update={"oom_kills": kills})


def _sooner(requeue_after: float | None, step: Transition | None, now: datetime) -> float | None:
    """Return when to look again: when the plan wants to, or when the step it is at becomes late."""
    late = time_left(step, now) if step is not None else 0.0
    if late <= 0:
        return requeue_after
    return late if requeue_after is None else min(requeue_after, late)


def _current(heard: Heard | None, attempt: int, workload: Workload | None, now: datetime) -> Heard | None:
    """Return what was heard if it is about this run of this attempt; an earlier run's last words do not count.

    Both when it was sent and when it came must lie behind the start: where the clock was set back in between, what was
    sent before seems to come from the future. A start that itself lies in the future means that it was set back since;
    then the connection alone tells.
    """
    if heard is None or heard.report.attempt != attempt:
        return None
    started = workload.started_at if workload is not None else None
    if started is None or (started > now and heard.connected):
        return heard
    if min(heard.report.sent_at, now - timedelta(seconds=heard.age)) >= started:
        return heard
    return None


def _is_known(instance: Instance, error: CcoError) -> bool:
    """Tell whether the same hopeless try has failed before; its event was recorded when it began to be hopeless."""
    ready = find_condition(instance.status.conditions, "Ready")
    # The condition's message may go on with the way out.
    same = ready is not None and ready.reason == error.reason and ready.message.startswith(error.message)
    return same and isinstance(error, Terminal)
