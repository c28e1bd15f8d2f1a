"""The observed half of an instance: what the controller last saw of its parts. Written by the loop only."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from .base import Model, Timestamp


class SessionState(StrEnum):
    """What Claude is doing, as the agent in the container reports it."""

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting"
    IDLE = "idle"
    EXITED = "exited"


class SessionStatus(Model):
    """Claude's session inside tmux.

    Attributes:
        waiting_for: ``permission prompt``, ``input needed`` or ``dialog open`` while the state is waiting.
        tool: the tool that runs or asks, when known.
        session_id: Claude's own conversation id.
        clients: people attached to the tmux session.
    """

    state: SessionState
    since: Timestamp
    waiting_for: str | None = None
    tool: str | None = None
    pid: int | None = None
    session_id: str | None = None
    tmux_session: str | None = None
    clients: int = 0
    detail: str | None = None
    last_activity_at: Timestamp | None = None


class Usage(Model):
    """Resource usage of the whole container.

    Attributes:
        cpu_percent: 100 is one core fully used.
        worktree_bytes: what worktree and private git directory occupy; ``None`` until it was measured.
        home_bytes: what HOME occupies; ``None`` likewise.
    """

    cpu_percent: float = 0.0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    pids: int = 0
    oom_kills: int = 0
    worktree_bytes: int | None = None
    home_bytes: int | None = None
    at: Timestamp


class WorkloadStatus(Model):
    """The container (or process group) that carries the instance now."""

    name: str
    id: str
    attempt: int
    state: str
    image_id: str | None = None
    started_at: Timestamp | None = None


class WorkspaceStatus(Model):
    """Worktree and branch.

    Attributes:
        base_commit: where the branch started; fixed when the worktree was made.
        head: the newest commit of the branch that is in the user's repository.
        ahead: commits between ``base_commit`` and ``head``.
        collected_refs: the agent's ``refs_version`` that was brought home last.
    """

    path: str
    git_dir: str
    branch: str
    base_commit: str | None = None
    head: str | None = None
    ahead: int = 0
    collected_refs: str | None = None
    snapshot: str | None = None


class RunMark(Model):
    """One run of one workload; a restart of the same workload is another run."""

    workload_id: str
    started_at: Timestamp | None = None


class LastExit(Model):
    """How the workload ended last; one exit is accounted once, recognised by workload and time.

    Attributes:
        asked: the controller ended it; that is neither a failure nor the end of the session's work.
    """

    workload_id: str
    finished_at: Timestamp
    exit_code: int | None = None
    reason: str = "Exited"
    message: str = ""
    asked: bool = False


class Transition(Model):
    """The step an instance is at on its way somewhere (a reason of ``Ready``), and since when."""

    reason: str
    since: Timestamp


class Parking(Model):
    """Why an instance was stopped although its spec wants it to run, and since when.

    Attributes:
        generation: of the spec it was parked under; a changed spec is tried.
    """

    reason: str
    message: str
    since: Timestamp
    generation: int


class FailureRecord(Model):
    """Consecutive failures; lives in the database so that a restart of the controller forgets nothing.

    Attributes:
        count: failures in a row; 0 after ten healthy minutes.
        retry_at: no start before this instant.
    """

    count: int = 0
    last_at: Timestamp | None = None
    retry_at: Timestamp | None = None
    reason: str = Field(default="")
    message: str = Field(default="")
