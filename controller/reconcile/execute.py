"""Carrying out a plan, one action after the other. Every action may be repeated and may be cut off.

What an action changes in the status comes back as a new status; the reconciler writes it at the end of the pass.
A crash before that loses no work: the next pass sees the world and takes attempts from its labels. It may lose a count,
and a restart that was asked for may be done once more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from controller.agents import Agents
from controller.errors import CcoError, Fenced, Retryable
from controller.manifests import Manifests, label_text
from controller.resources import (
    EventType,
    Input,
    InputState,
    Instance,
    InstanceStatus,
    Kind,
    Parking,
)
from controller.resources.observed import FailureRecord
from controller.runtime.choice import Runtimes
from controller.runtime.protocol import LABEL_MANIFEST, Mount, WorkloadSpec
from controller.workspace.types import Workspaces

from .actions import (
    Action,
    CollectCommits,
    CreateWorkload,
    DeliverInput,
    EnsureWorkspace,
    ParkWorkload,
    Release,
    RemoveHome,
    RemoveWorkload,
    RemoveWorkspace,
    ResolveInput,
    RestartWorkload,
    SnapshotWork,
    StartWorkload,
    StopWorkload,
    UpdateLimits,
)
from .deletion import is_given_up
from .exits import count_failure
from .holding import QUEUE_SECONDS, start_requested
from .observed import Wanted
from .pacing import StartTurns
from .statuses import with_workspace

logger = logging.getLogger(__name__)

RUN_TARGET = "/run/cco"

EVENT_REASONS: dict[type[Action], str] = {
    EnsureWorkspace: "WorkspaceCreated",
    CreateWorkload: "WorkloadCreated",
    StartWorkload: "WorkloadStarted",
    RestartWorkload: "WorkloadRestarted",
    StopWorkload: "WorkloadStopped",
    ParkWorkload: "Parked",
    RemoveWorkload: "WorkloadRemoved",
    UpdateLimits: "LimitsUpdated",
    CollectCommits: "CommitsCollected",
    SnapshotWork: "WorkSnapshotted",
    DeliverInput: "InputDelivered",
    ResolveInput: "InputResolved",
    RemoveWorkspace: "WorkspaceRemoved",
    RemoveHome: "HomeRemoved",
    Release: "Deleted",
}


class EventSink(Protocol):
    """Where events go."""

    def record(self, kind: Kind, name: str, uid: str, type: EventType, reason: str, message: str) -> object:  # noqa: A002  # the resource's own field name
        """Record one event; equal ones in a row are counted."""


class InputSink(Protocol):
    """Where the fate of prompts is written."""

    def set_state(self, id: str, state: InputState, reason: str | None = None) -> object:  # noqa: A002  # the resource's own field name
        """Move a prompt to another state; idempotent."""

    def pending(self, uid: str) -> list[Input]:
        """Return the prompts of an instance that are not resolved, oldest first."""


class Rows(Protocol):
    """The one thing an action does to the instance's row."""

    def purge(self, uid: str) -> object:
        """Drop the row; idempotent."""


@dataclass(frozen=True, slots=True)
class Executor:
    """Everything actions need to act.

    Attributes:
        fence: raises :class:`~controller.errors.Fenced` when another controller has taken over.
        run_dir: returns the folder that is mounted at ``/run/cco`` in an instance's container.
    """

    workspaces: Workspaces
    runtimes: Runtimes
    links: Agents
    rows: Rows
    inputs: InputSink
    events: EventSink
    turns: StartTurns
    manifests: Manifests
    fence: Callable[[], None]
    stop_grace: float
    run_dir: RunDirectory

    def execute(
        self, action: Action, instance: Instance, status: InstanceStatus, wanted: Wanted | None, now: datetime
    ) -> InstanceStatus:
        """Carry out one action and record its event; returns the status with what it changed.

        Raises:
            Retryable, Terminal: what was not done; nothing of it stays half-made.
        """
        self.fence()
        changed, message = self._act(action, instance, status, wanted, now)
        if message is not None:
            reason = EVENT_REASONS[type(action)]
            self.tell(instance, EventType.NORMAL, reason, message)
            logger.info("%s", reason, extra={"cco_instance": instance.metadata.name, "cco_reason": message})
        return changed

    def tell(self, instance: Instance, type_: EventType, reason: str, message: str) -> None:
        """Record an event; one that cannot be written must not take along what there is to say in the status."""
        meta = instance.metadata
        try:
            self.events.record(Kind.INSTANCE, meta.name, meta.uid, type_, reason, message)
        except Retryable as error:
            logger.warning("event not recorded", extra={"cco_instance": meta.name, "cco_reason": error.reason})

    def _act(
        self, action: Action, instance: Instance, status: InstanceStatus, wanted: Wanted | None, now: datetime
    ) -> tuple[InstanceStatus, str | None]:
        """Return the changed status and the event's message (``None``: not worth an event)."""
        uid, name = instance.metadata.uid, instance.metadata.name
        runtime = self.runtimes.of(instance)
        match action:
            case StopWorkload():
                runtime.stop(uid, grace=self.stop_grace)
                return _counted(status, action, now), action.reason
            case ParkWorkload():
                runtime.stop(uid, grace=self.stop_grace)
                return _parked(status, instance, action, now), action.reason
            case RemoveWorkload():
                runtime.remove(uid)
            case UpdateLimits():
                runtime.update(uid, action.limits)
            case RemoveHome():
                runtime.remove_home(uid, name)
            case Release():
                self._release(uid, name)
            case DeliverInput() | ResolveInput():
                self._pass_on(action, uid)
            case _:
                if wanted is None:
                    msg = f"{type(action).__name__} was planned without a worked-out spec"
                    raise AssertionError(msg)
                return self._build(action, instance, status, wanted, now)
        return status, action.reason

    def _release(self, uid: str, name: str) -> None:
        """Drop what this process and the state directory know; the row goes last."""
        self.turns.end(name)
        self.links.forget(uid)
        self.manifests.forget_instance(name)
        self.run_dir.remove(name)
        self.rows.purge(uid)

    def _pass_on(self, action: DeliverInput | ResolveInput, uid: str) -> None:
        """Hand a prompt to the agent, or record the agent's answer."""
        if isinstance(action, ResolveInput):
            answer = action.acknowledgement
            self.inputs.set_state(answer.id, answer.input_state, answer.reason)
            return
        if not self.links.send_input(uid, action.input.id, action.input.text):
            raise Retryable("AgentUnreachable", "the agent's connection broke; it will come back", delay=1.0)
        self.inputs.set_state(action.input.id, InputState.DELIVERED)

    def _build(
        self, action: Action, instance: Instance, status: InstanceStatus, wanted: Wanted, now: datetime
    ) -> tuple[InstanceStatus, str | None]:
        """The actions that need to know what is wanted."""
        uid = instance.metadata.uid
        runtime, carried_by = self.runtimes.of(instance), self.runtimes.name_of(instance)
        match action:
            case EnsureWorkspace():
                self.workspaces.create(wanted.ref)
                return with_workspace(status, wanted), action.reason
            case CreateWorkload():
                self._take_turn(wanted)
                self.manifests.remember(instance)
                self._configure(wanted, action.attempt)
                runtime.create(self._workload_spec(instance, wanted, action.attempt))
                self.fence()  # again: it may have taken long, and two must never run
                runtime.start(uid, action.attempt)
                return _started(status, instance, action.attempt, carried_by), action.reason
            case StartWorkload():
                self._take_turn(wanted)
                self._configure(wanted, status.attempt)
                runtime.start(uid, status.attempt)
                return _started(status, instance, status.attempt, carried_by), action.reason
            case RestartWorkload():
                self._take_turn(wanted)
                runtime.stop(uid, grace=self.stop_grace)
                self.fence()
                self._configure(wanted, status.attempt)
                runtime.start(uid, status.attempt)
                return _counted(_started(status, instance, status.attempt, carried_by), action, now), action.reason
            case CollectCommits():
                with self._or_lose(instance, action, now):
                    return self._collect(action, status, wanted)
            case SnapshotWork():
                with self._or_lose(instance, action, now):
                    return self._snapshot(action, instance, status, wanted)
            case RemoveWorkspace():
                self.workspaces.remove(wanted.ref, keep_worktree=action.keep_worktree, or_lose=action.or_lose)
                return status, action.reason
            case _:
                msg = f"no way to carry out {type(action).__name__}"
                raise AssertionError(msg)
        return status, None  # given up, and told

    def _take_turn(self, wanted: Wanted) -> None:
        """Begin a start, unless so many others began one since the plan was made."""
        if not self.turns.take(wanted.config.name):
            message = f"{self.turns.limit} instances are starting already; this one is next in turn"
            raise Retryable("StartQueued", message, delay=QUEUE_SECONDS)

    def _configure(self, wanted: Wanted, attempt: int) -> None:
        self.links.open(wanted.config.name, wanted.config.uid)
        self.links.configure(wanted.config.model_copy(update={"attempt": attempt}))

    def _workload_spec(self, instance: Instance, wanted: Wanted, attempt: int) -> WorkloadSpec:
        name = instance.metadata.name
        run = Mount(str(self.run_dir.path(name)), RUN_TARGET, read_only=True)
        return WorkloadSpec(
            name=name,
            uid=instance.metadata.uid,
            attempt=attempt,
            image=wanted.image,
            spec_hash=wanted.spec_hash,
            limits=wanted.limits,
            mounts=(*self.workspaces.mounts(wanted.ref), run),
            user=wanted.ref.owner,
            workdir=wanted.ref.worktree,
            labels={LABEL_MANIFEST: label_text(instance, wanted.ref.repository)},
        )

    @contextmanager
    def _or_lose(self, instance: Instance, action: CollectCommits | SnapshotWork, now: datetime) -> Iterator[None]:
        """Tell what cannot be saved, and go on, where the owner gave it up; raise it otherwise.

        What may go well at the next try is tried again first, for a while.
        """
        try:
            yield
        except Fenced:
            raise
        except CcoError as error:
            passing = isinstance(error, Retryable) and not is_given_up(instance, now)
            if not action.or_lose or passing:
                raise
            message = f"work could not be saved and is given up, as was asked for: {error.message}"
            self.tell(instance, EventType.WARNING, "WorkDiscarded", message)
            logger.warning("gave up work", extra={"cco_instance": instance.metadata.name, "cco_reason": error.reason})

    def _snapshot(
        self, action: SnapshotWork, instance: Instance, status: InstanceStatus, wanted: Wanted
    ) -> tuple[InstanceStatus, str | None]:
        message = f"cc-orchestrator: work of {instance.metadata.name} ({action.reason})"
        commit = self.workspaces.snapshot(wanted.ref, message=message)
        told = f"{action.reason}; uncommitted work is in {commit[:12]}" if commit else None
        return with_workspace(status, wanted, snapshot=commit), told

    def _collect(
        self, action: CollectCommits, status: InstanceStatus, wanted: Wanted
    ) -> tuple[InstanceStatus, str | None]:
        collected = self.workspaces.collect(wanted.ref)
        status = with_workspace(status, wanted, head=collected.head, collected_refs=action.refs_version)
        head = (collected.head or "")[:12]
        return status, f"{wanted.ref.branch} is at {head}" if collected.moved else None


class RunDirectory(Protocol):
    """The instance's own folder in the state directory."""

    def path(self, name: str) -> Path:
        """Return the folder that is mounted at ``/run/cco``."""

    def remove(self, name: str) -> None:
        """Remove the instance's folder; idempotent."""


def _counted(status: InstanceStatus, action: StopWorkload | RestartWorkload, now: datetime) -> InstanceStatus:
    """Return the status with the failure that made the act necessary, if it was one."""
    if not action.failure:
        return status
    failures = count_failure(status.failures, action.failure, action.reason, now)
    return status.model_copy(update={"failures": failures})


def _parked(status: InstanceStatus, instance: Instance, action: ParkWorkload, now: datetime) -> InstanceStatus:
    """Return the status of an instance that rests until its spec changes."""
    generation = instance.metadata.generation
    parked = Parking(reason=action.condition, message=action.reason, since=now, generation=generation)
    return status.model_copy(update={"parked": parked})


def _started(status: InstanceStatus, instance: Instance, attempt: int, runtime: str) -> InstanceStatus:
    """Return the status after a start: what a person asked for is done, and clears the failures."""
    asked = start_requested(instance)
    return status.model_copy(
        update={
            "attempt": attempt,
            "runtime": runtime,
            "oom_kills": 0,
            "restarts": status.restarts + (1 if status.attempt else 0),
            "restarted_generation": instance.spec.restart_generation,
            "retried_generation": instance.spec.retry_generation,
            "failures": FailureRecord() if asked else status.failures,
        }
    )
