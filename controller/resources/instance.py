"""Instance: one Claude Code in its own worktree and container."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .base import Model, Timestamp
from .conditions import Condition, ConditionStatus, find_condition
from .metadata import ManifestMetadata, Metadata
from .observed import (
    FailureRecord,
    LastExit,
    Parking,
    RunMark,
    SessionState,
    SessionStatus,
    Transition,
    Usage,
    WorkloadStatus,
    WorkspaceStatus,
)
from .quantity import Bytes, format_bytes

MIN_MEMORY = 64 * 1024**2
MAX_MEMORY = 1024**5
MIN_DISK = 64 * 1024**2
MAX_PROMPT_CHARACTERS = 200_000
LAYOUTS = ("claude", "default")
"""The layouts that the agent has. Checked when one is declared and not here, so that what was stored stays readable."""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED_ENV = re.compile(
    r"LD_.*|HOME|PATH|PYTHON.*|TMUX.*|CCO_.*|ANTHROPIC_.*|CLAUDE_CODE_OAUTH_TOKEN|CLAUDE_CONFIG_DIR|GIT_DIR|GIT_WORK_TREE"
)
_OWN_ARGUMENTS = {
    "--session-id": "it is fixed by cc-orchestrator",
    "--resume": "cc-orchestrator resumes the conversation by itself",
    "-r": "cc-orchestrator resumes the conversation by itself",
    "--continue": "cc-orchestrator resumes the conversation by itself",
    "-c": "cc-orchestrator resumes the conversation by itself",
    "--permission-mode": "set spec.permission_mode",
    "--dangerously-skip-permissions": "set spec.permission_mode to bypassPermissions",
    "--model": "set spec.model",
    "--print": "an instance is an interactive session",
    "-p": "an instance is an interactive session",
}
_BRANCH_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[-/.]|[/.]$|^(@|HEAD)$")


class OperatingMode(StrEnum):
    """What should be alive.

    ``Suspended`` keeps container, HOME and worktree and stops the processes; ``Stopped`` removes the container
    too and keeps HOME (the conversation) and the worktree.
    """

    RUNNING = "Running"
    SUSPENDED = "Suspended"
    STOPPED = "Stopped"


class PermissionMode(StrEnum):
    """Claude Code's own permission modes; always passed explicitly."""

    MANUAL = "manual"
    ACCEPT_EDITS = "acceptEdits"
    PLAN = "plan"
    BYPASS = "bypassPermissions"


class RestartPolicy(StrEnum):
    """When an ended session is started again: always, only after a failure, or never."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class WorktreePolicy(StrEnum):
    """What a delete does with the worktree folder; the branch and a snapshot of uncommitted work always stay."""

    DELETE = "Delete"
    RETAIN = "Retain"


class DisplayState(StrEnum):
    """One word for people, derived when read and never stored."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    IDLE = "IDLE"
    ERROR = "ERROR"
    STOPPED = "STOPPED"
    DELETING = "DELETING"
    UNKNOWN = "UNKNOWN"


def _check_branch(value: str) -> str:
    if not value or len(value.encode()) > 200 or _BRANCH_FORBIDDEN.search(value):
        msg = f"{value!r} is not a branch name git accepts: write for example 'feature/login'"
        raise ValueError(msg)
    return value


def _check_env(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _ENV_NAME.fullmatch(name):
            msg = f"{name!r} is not a name for an environment variable"
            raise ValueError(msg)
        if _RESERVED_ENV.fullmatch(name):
            msg = f"{name!r} is reserved: cc-orchestrator sets it, or it would subvert the container's programs"
            raise ValueError(msg)
        if "\0" in text:
            msg = f"the value of {name!r} has a NUL character"
            raise ValueError(msg)
    return value


def _check_arguments(value: tuple[str, ...]) -> tuple[str, ...]:
    for argument in value:
        # A short flag may carry its value: -rSESSION.
        flag = argument.split("=", 1)[0] if argument.startswith("--") else argument[:2]
        if flag in _OWN_ARGUMENTS:
            msg = f"{flag!r} cannot be an extra argument: {_OWN_ARGUMENTS[flag]}"
            raise ValueError(msg)
        if "\0" in argument:
            msg = "an argument has a NUL character"
            raise ValueError(msg)
    return value


def _check_text(value: str) -> str:
    if "\0" in value:
        msg = "the text has a NUL character, which no terminal takes; remove it"
        raise ValueError(msg)
    return value


def _check_cpus(value: float) -> float:
    if not 0.05 <= value <= 1024:
        msg = f"{value} is not a number of CPUs between 0.05 and 1024"
        raise ValueError(msg)
    return round(value, 3)  # what the engine keeps, so that nothing looks like drift


def _check_memory(value: int) -> int:
    if value < MIN_MEMORY:
        msg = f"{value} bytes is less than the least that can start anything (64Mi; Claude Code wants 1Gi)"
        raise ValueError(msg)
    if value > MAX_MEMORY:
        msg = f"{format_bytes(value)} is more than any machine has: write for example '2Gi'"
        raise ValueError(msg)
    return value


def _manual_alias(value: object) -> object:
    return "manual" if value == "default" else value


BranchName = Annotated[str, AfterValidator(_check_branch)]
Environment = Annotated[dict[str, str], AfterValidator(_check_env), Field(max_length=256)]
Arguments = Annotated[tuple[str, ...], AfterValidator(_check_arguments), Field(max_length=64)]
Text = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_check_text)]
Image = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._/:@-]*$")]
Word = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\[\]-]*$")]


class Resources(Model):
    """Limits the kernel enforces; changing them takes effect at once, without a restart.

    Attributes:
        cpus: cores, 1.5 is one and a half.
        memory: bytes, without swap; exceeding it kills a process in the container.
        pids: processes and threads together.
        disk: bytes of worktree, private git directory and HOME together; an instance that holds more is stopped.
    """

    cpus: Annotated[float, AfterValidator(_check_cpus)] = 1.0
    memory: Annotated[Bytes, AfterValidator(_check_memory)] = 2 * 1024**3
    pids: Annotated[int, Field(ge=16, le=32768)] = 512
    disk: Annotated[Bytes, Field(ge=MIN_DISK, le=MAX_MEMORY)] = 20 * 1024**3


class InstanceDefaults(Model):
    """Values a repository gives to those of its instances that leave the field out."""

    model: Word | None = None
    permission_mode: Annotated[PermissionMode, BeforeValidator(_manual_alias)] | None = None
    image: Image | None = None
    resources: Resources | None = None
    layout: Word | None = None
    env: Environment | None = None
    args: Arguments | None = None
    restart_policy: RestartPolicy | None = None
    worktree_policy: WorktreePolicy | None = None


class InstanceSpec(Model):
    """What the user wants.

    Attributes:
        repository: name of a registered repository.
        branch: the branch Claude works on; made from ``base_branch`` when absent. Default: the instance's name.
        base_branch: where a new branch starts; default: the repository's base branch.
        prompt: first prompt, given once at the first start.
        image: container image; default: the setting ``instance_image``.
        runtime: what runs it, for example ``docker`` or ``process``; default: the setting ``runtime``. Fixed once made.
        restart_generation: raise it by one to ask for a restart.
        retry_generation: raise it by one to ask for another try of what was given up or parked.
        args: extra arguments for ``claude``.
    """

    repository: str
    branch: BranchName | None = None
    base_branch: BranchName | None = None
    prompt: Text | None = None
    model: Word | None = None
    permission_mode: Annotated[PermissionMode, BeforeValidator(_manual_alias)] = PermissionMode.ACCEPT_EDITS
    image: Image | None = None
    resources: Resources = Field(default_factory=Resources)
    layout: Word = "default"
    env: Environment = Field(default_factory=dict)
    operating_mode: OperatingMode = OperatingMode.RUNNING
    restart_generation: Annotated[int, Field(ge=0)] = 0
    retry_generation: Annotated[int, Field(ge=0)] = 0
    runtime: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] | None = None
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    worktree_policy: WorktreePolicy = WorktreePolicy.DELETE
    args: Arguments = ()

    def with_defaults(self, defaults: InstanceDefaults) -> InstanceSpec:
        """Return the spec with the repository's values in the fields the user left out."""
        update = {
            field: value
            for field in InstanceDefaults.model_fields
            if field not in self.model_fields_set and (value := getattr(defaults, field)) is not None
        }
        return self.model_copy(update=update)


class InstanceStatus(Model):
    """What the controller saw; a reader never has to look anywhere else.

    Attributes:
        attempt: number of the current workload; a replacement gets the next one.
        restarted_generation: the ``restart_generation`` that was carried out last.
        retried_generation: the ``retry_generation`` that was carried out last.
        runtime: what runs it; fixed with the first workload.
        parked: why it rests although its spec wants it to run; ``None`` otherwise.
        transition: the step it is at, on the way; ``None`` when it is at rest.
        ending: the run the controller is about to end, noted before it does; tells that end from a failure.
        oom_kills: processes of the current run that the kernel killed for want of memory and that an event told of.
    """

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    attempt: int = 0
    restarted_generation: int = 0
    retried_generation: int = 0
    restarts: int = 0
    runtime: str | None = None
    parked: Parking | None = None
    transition: Transition | None = None
    ending: RunMark | None = None
    oom_kills: int = 0
    workload: WorkloadStatus | None = None
    workspace: WorkspaceStatus | None = None
    session: SessionStatus | None = None
    usage: Usage | None = None
    last_exit: LastExit | None = None
    failures: FailureRecord = Field(default_factory=FailureRecord)
    started_at: Timestamp | None = None


class InstanceManifest(Model):
    """An instance as a user writes it down."""

    kind: Literal["Instance"] = "Instance"
    metadata: ManifestMetadata
    spec: InstanceSpec


class Instance(Model):
    """One declared Claude Code."""

    kind: Literal["Instance"] = "Instance"
    metadata: Metadata
    spec: InstanceSpec
    status: InstanceStatus = Field(default_factory=InstanceStatus)

    @property
    def branch(self) -> str:
        """The branch Claude works on."""
        return self.spec.branch or self.metadata.name


_SESSION_WORDS = {
    SessionState.STARTING: DisplayState.STARTING,
    SessionState.WORKING: DisplayState.RUNNING,
    SessionState.WAITING: DisplayState.WAITING,
    SessionState.IDLE: DisplayState.IDLE,
}


def display_state(instance: Instance) -> tuple[DisplayState, str]:
    """Return the word people see and the reason behind it; the one derivation for CLI, API and dashboard."""
    if instance.metadata.deletion_requested_at is not None:
        return DisplayState.DELETING, _reason(instance, "Ready") or "Deleting"
    ready = find_condition(instance.status.conditions, "Ready")
    if ready is None:
        return DisplayState.STARTING, "Pending"
    if ready.status is ConditionStatus.UNKNOWN:
        return DisplayState.UNKNOWN, ready.reason
    if ready.status is ConditionStatus.TRUE:
        session = instance.status.session
        if session is None:
            return DisplayState.RUNNING, ready.reason
        return _SESSION_WORDS.get(session.state, DisplayState.RUNNING), session.waiting_for or ready.reason
    if ready.reason in TRANSITIONAL_REASONS:
        return DisplayState.STARTING, ready.reason
    if ready.reason in STOPPED_REASONS:
        return DisplayState.STOPPED, ready.reason
    return DisplayState.ERROR, ready.reason


def _reason(instance: Instance, type_: str) -> str | None:
    condition = find_condition(instance.status.conditions, type_)
    return condition.reason if condition is not None else None


TRANSITIONAL_REASONS = frozenset(
    {
        "Pending",
        "CreatingWorkspace",
        "StartingWorkload",
        "StartingSession",
        "BackingOff",
        "Stopping",
        "WaitingForRepository",
        "Draining",
        "StartQueued",
        "FleetBrake",
        "Deleting",
    }
)
STOPPED_REASONS = frozenset({"Suspended", "Stopped", "Completed"})
