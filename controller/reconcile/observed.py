"""What one pass looks at: the world (``Observed``) and the spec worked out to the last detail (``Wanted``)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta

from controller.agents import AgentConfig, Heard
from controller.resources import Input, Instance, Repository
from controller.runtime.protocol import Limits, Workload
from controller.settings import Settings
from controller.workspace.types import WorkspaceRef, WorkspaceState

from .brake import Brake

CONTAINER_USER = 1000


@dataclass(frozen=True, slots=True)
class DiskVerdict:
    """What the watch over the disk says.

    Attributes:
        full: why nothing may be started now; ``None`` when there is space.
        evict: why this very instance has to stop; ``None`` when it need not.
    """

    full: str | None = None
    evict: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at everything that belongs to an instance; made fresh in every pass.

    Attributes:
        repository: ``None`` when it is not registered (any more).
        workspace: ``None`` when the repository is not in a state to be looked at.
        heard: the current attempt's agent only; reports of older attempts do not count.
        inputs: not yet resolved, oldest first.
        credentials: whether there is anything for Claude to log in with.
        listening_for: seconds since this process has been able to hear the instance's agent.
        disk: what the watch over the disk says.
        brake: why the fleet's failures hold a start, ``None`` when they do not.
        queue: why a start has to wait its turn, ``None`` when it need not.
    """

    repository: Repository | None
    workspace: WorkspaceState | None
    workloads: tuple[Workload, ...]
    heard: Heard | None
    inputs: tuple[Input, ...]
    credentials: bool
    listening_for: float = 0.0
    disk: DiskVerdict = DiskVerdict()
    brake: Brake | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The spec worked out: where things are, what they are called, and the hashes that tell drift.

    Attributes:
        spec_hash: over the fields whose change needs a new workload. An upgrade of the controller, or of the
            default image, changes no hash: only what the user declares is in it.
        config_hash: over what the agent reads at its start; a change needs a restart of the session.
    """

    ref: WorkspaceRef
    image: str
    limits: Limits
    spec_hash: str
    config: AgentConfig


@dataclass(frozen=True, slots=True)
class Pace:
    """Times that steer decisions.

    Attributes:
        heartbeat: seconds between two reports of a healthy agent.
    """

    heartbeat: float

    @property
    def silent_after(self) -> float:
        """Seconds without a report after which an agent counts as silent."""
        return 3 * self.heartbeat + 5

    start_deadline = timedelta(seconds=180)
    """A session that is not up by then is restarted, and that counts as a failure."""

    silence_deadline = timedelta(seconds=300)
    """A running workload whose agent is silent for so long is restarted, and that counts as a failure."""


def work_out(instance: Instance, repository: Repository, settings: Settings, *, attempt: int) -> Wanted:
    """Return what the spec means on this machine; pure."""
    ref = _workspace_ref(instance, repository, settings, attempt)
    spec = instance.spec
    limits = Limits(cpus=spec.resources.cpus, memory=spec.resources.memory, pids=spec.resources.pids)
    recreate = {
        "image": spec.image,
        "repository": ref.repository,
        "worktree": ref.worktree,
        "private": ref.private,
        "owner": ref.owner,
    }
    restart = {
        "model": spec.model,
        "permission_mode": spec.permission_mode,
        "args": spec.args,
        "layout": spec.layout,
        "env": spec.env,
        "base_url": settings.model_base_url,
    }
    config = AgentConfig(
        name=instance.metadata.name,
        uid=instance.metadata.uid,
        attempt=attempt,
        config_hash=_digest(restart),
        workdir=ref.worktree,
        git_dir=ref.private,
        session_id=instance.metadata.uid,
        prompt=spec.prompt,
        model=spec.model,
        permission_mode=spec.permission_mode,
        args=spec.args,
        layout=spec.layout,
        env=spec.env,
        base_url=settings.model_base_url,
        heartbeat_seconds=settings.heartbeat_seconds,
    )
    return Wanted(ref, spec.image or settings.instance_image, limits, _digest(recreate), config)


def _workspace_ref(instance: Instance, repository: Repository, settings: Settings, attempt: int) -> WorkspaceRef:
    name = instance.metadata.name
    path = repository.spec.path
    if instance.status.workspace is not None:  # where it was made is where it is, whatever the setting says now
        worktree = instance.status.workspace.path
    elif settings.worktree_base_path is not None:
        worktree = str(settings.worktree_base_path / repository.metadata.name / name)
    else:
        worktree = f"{path.rstrip('/')}.worktrees/{name}"
    owner = (repository.status.owner_uid or CONTAINER_USER, repository.status.owner_gid or CONTAINER_USER)
    return WorkspaceRef(
        instance=name,
        uid=instance.metadata.uid,
        repository=path,
        branch=instance.branch,
        base_branch=instance.spec.base_branch or repository.spec.base_branch,
        worktree=worktree,
        private=str(settings.instance_dir(name) / "git"),
        attempt=max(attempt, 1),
        owner=owner,
    )


def _digest(fields: object) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
