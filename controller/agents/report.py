"""The messages between the controller and the agent in a container: JSON lines over a unix socket.

The agent (``containers/agent``) pushes its whole current state on every change and as a heartbeat; the controller
answers with credentials and inputs. What arrives here was written inside a box we do not trust: every field is
bounded, and unknown fields of a newer agent are ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controller.resources import InputState, SessionState, SessionStatus, Usage
from controller.resources.base import Timestamp

MAX_LINE = 1024 * 1024
SCHEMA = 1

Short = Annotated[str, Field(max_length=200)]
Sentence = Annotated[str, Field(max_length=2000)]
Count = Annotated[int, Field(ge=0, le=2**62)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _AnyMessage(_Message):
    type: Short
    schema_: Count | None = Field(default=None, alias="schema")


def is_from_another_version(line: bytes) -> bool:
    """Tell whether a line that is no :class:`Report` is a message all the same, of a kind or schema we do not know."""
    try:
        message = _AnyMessage.model_validate_json(line)
    except ValidationError:
        return False
    return message.type != "report" or message.schema_ not in {None, SCHEMA}


class ReportedSession(_Message):
    """Claude's session as the agent sees it; see :class:`~controller.resources.SessionStatus`."""

    state: SessionState
    since: Timestamp
    waiting_for: Short | None = None
    tool: Short | None = None
    pid: Count | None = None
    session_id: Short | None = None
    exit_status: int | None = None
    exit_signal: int | None = None
    detail: Sentence | None = None


class ReportedTmux(_Message):
    """The tmux session and how many people look at it."""

    session: Short
    clients: Count = 0


class ReportedUsage(_Message):
    """Read from cgroup files by the agent; ``cpu_percent`` 100 is one core.

    Attributes:
        worktree_bytes: what worktree and private git directory occupy; measured rarely.
        home_bytes: what HOME occupies; likewise.
        disk_total_bytes: size of the fullest file system the instance writes to.
        disk_free_bytes: what is free there for its user.
    """

    cpu_percent: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    memory_bytes: Count = 0
    memory_limit_bytes: Count = 0
    pids: Count = 0
    oom_kills: Count = 0
    worktree_bytes: Count | None = None
    home_bytes: Count | None = None
    disk_total_bytes: Count | None = None
    disk_free_bytes: Count | None = None


class InputAcknowledgement(_Message):
    """What became of one input; kept by the agent in HOME, so an id is never typed twice."""

    id: Short
    state: Literal["accepted", "rejected"]
    reason: Sentence | None = None
    at: Timestamp

    @property
    def input_state(self) -> InputState:
        """The state the input's row gets."""
        return InputState.ACCEPTED if self.state == "accepted" else InputState.REJECTED


class Report(_Message):
    """The whole current state of one agent.

    Attributes:
        boot: random identifier of the agent process; a new one means that everything was started again.
        config_hash: of the ``instance.json`` the agent started with.
        refs_version: changes whenever a branch or HEAD of the private git directory moves.
    """

    type: Literal["report"]
    schema_: Literal[1] = Field(alias="schema")
    uid: Short
    attempt: Count
    boot: Short
    seq: Count
    sent_at: Timestamp
    config_hash: Short
    session: ReportedSession
    tmux: ReportedTmux | None = None
    usage: ReportedUsage = Field(default_factory=ReportedUsage)
    last_activity: Timestamp | None = None
    refs_version: Short | None = None
    inputs: Annotated[tuple[InputAcknowledgement, ...], Field(max_length=200, fail_fast=True)] = ()
    credentials: Literal["present", "missing"] = "missing"

    def session_status(self) -> SessionStatus:
        """Return the part that becomes ``status.session``."""
        return SessionStatus(
            state=self.session.state,
            since=self.session.since,
            waiting_for=self.session.waiting_for,
            tool=self.session.tool,
            pid=self.session.pid,
            session_id=self.session.session_id,
            tmux_session=self.tmux.session if self.tmux else None,
            clients=self.tmux.clients if self.tmux else 0,
            detail=self.session.detail,
            last_activity_at=self.last_activity,
        )

    def usage_status(self) -> Usage:
        """Return the part that becomes ``status.usage``."""
        known = self.usage.model_dump(exclude={"disk_total_bytes", "disk_free_bytes"})
        return Usage(at=self.sent_at, **known)

    def significant(self) -> tuple[object, ...]:
        """Return what a pass must see at once; usage and activity alone are not worth one."""
        session = self.session
        return (
            self.boot,
            self.attempt,
            session.state,
            session.waiting_for,
            session.tool,
            session.pid,
            session.session_id,
            session.detail,
            self.config_hash,
            self.refs_version,
            self.credentials,
            self.inputs,
            self.tmux.clients if self.tmux else 0,
            self.usage.oom_kills,
        )


class AgentConfig(BaseModel):
    """``instance.json``: what the agent is told before it starts Claude; nothing in it is secret."""

    model_config = ConfigDict(frozen=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    name: str
    uid: str
    attempt: int
    config_hash: str
    workdir: str
    git_dir: str
    session_id: str
    prompt: str | None
    model: str | None
    permission_mode: str
    args: tuple[str, ...]
    layout: str
    env: dict[str, str]
    base_url: str | None
    heartbeat_seconds: float
