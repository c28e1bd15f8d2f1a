"""What a pass may do. A plan is a value; ``execute`` carries it out, and every reason becomes an event."""

from __future__ import annotations

from dataclasses import dataclass

from controller.agents import InputAcknowledgement
from controller.resources import Input
from controller.runtime.protocol import Limits


@dataclass(frozen=True, slots=True)
class EnsureWorkspace:
    """Make or repair branch, worktree and private git directory."""

    reason: str


@dataclass(frozen=True, slots=True)
class CreateWorkload:
    """Make the next attempt's workload and start it."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class StartWorkload:
    """Start the existing workload (again) with the current configuration."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestartWorkload:
    """Stop the workload gracefully and start it again with the current configuration.

    Attributes:
        failure: reason to count against the instance; empty when a person or a change of the spec asked for it.
    """

    reason: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class StopWorkload:
    """Let Claude end its session and stop the workload.

    Attributes:
        failure: as with :class:`RestartWorkload`.
    """

    reason: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class ParkWorkload:
    """Stop the workload and let it rest until somebody asks for a retry or changes the spec.

    Attributes:
        condition: CamelCase; the reason of ``Ready`` while it rests.
    """

    condition: str
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveWorkload:
    """Remove the stopped workload; HOME and workspace stay."""

    reason: str


@dataclass(frozen=True, slots=True)
class UpdateLimits:
    """Apply changed limits to the running workload."""

    limits: Limits
    reason: str


@dataclass(frozen=True, slots=True)
class CollectCommits:
    """Carry the agent's commits into the user's repository.

    Attributes:
        or_lose: what cannot be carried is given up, which the owner asked for by name.
    """

    refs_version: str | None
    reason: str
    or_lose: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotWork:
    """Save uncommitted work under a private ref.

    Attributes:
        or_lose: as with :class:`CollectCommits`.
    """

    reason: str
    or_lose: bool = False


@dataclass(frozen=True, slots=True)
class DeliverInput:
    """Hand a prompt to the agent."""

    input: Input
    reason: str


@dataclass(frozen=True, slots=True)
class ResolveInput:
    """Record what the agent said about a prompt."""

    acknowledgement: InputAcknowledgement
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveWorkspace:
    """Remove worktree and private git directory; only ever planned when nothing in them is unsaved.

    Attributes:
        or_lose: the one exception: the owner asked for it by name, and saving was tried.
    """

    keep_worktree: bool
    reason: str
    or_lose: bool = False


@dataclass(frozen=True, slots=True)
class RemoveHome:
    """Remove the volume with Claude's HOME."""

    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """Drop the row: the last act of a deletion."""

    reason: str


Action = (
    EnsureWorkspace
    | CreateWorkload
    | StartWorkload
    | RestartWorkload
    | StopWorkload
    | ParkWorkload
    | RemoveWorkload
    | UpdateLimits
    | CollectCommits
    | SnapshotWork
    | DeliverInput
    | ResolveInput
    | RemoveWorkspace
    | RemoveHome
    | Release
)


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why nothing (more) is done.

    Attributes:
        reason: CamelCase; becomes the reason of ``Ready``.
        message: for people, with the way out.
        unknown: something could not be looked at, so ``Ready`` is not known either.
    """

    reason: str
    message: str
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision of one pass. No actions and no ``blocked``: the spec is satisfied.

    Attributes:
        requeue_after: seconds after which time alone may change the decision.
    """

    actions: tuple[Action, ...] = ()
    blocked: Blocked | None = None
    requeue_after: float | None = None
