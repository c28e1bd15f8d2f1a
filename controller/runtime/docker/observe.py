"""From what the engine says of a container (``GET /containers/{id}/json``) to a Workload."""

from __future__ import annotations

from datetime import datetime

from controller.runtime.protocol import (
    LABEL_ATTEMPT,
    LABEL_INSTANCE,
    LABEL_SPEC_HASH,
    LABEL_UID,
    Limits,
    Workload,
    WorkloadState,
)

from .engine import Json

# A container is "removing" or "dead" while a removal is under way or failed half-way: nothing runs in it any more.
_STATES = {
    "created": WorkloadState.CREATED,
    "running": WorkloadState.RUNNING,
    "restarting": WorkloadState.RUNNING,
    "paused": WorkloadState.PAUSED,
    "removing": WorkloadState.EXITED,
    "exited": WorkloadState.EXITED,
    "dead": WorkloadState.EXITED,
}
ALIVE = tuple(word for word, state in _STATES.items() if state.alive)
"""The engine's words for a container that is at work, or would be again without being started."""
_KILLED = 137


def workload(container: Json, network: str) -> Workload:
    """Return what a container's full description says; ``network`` is the one that it has to be on."""
    labels, state, host = container["Config"]["Labels"], container["State"], container["HostConfig"]
    ended = _STATES[state["Status"]] is WorkloadState.EXITED
    return Workload(
        id=container["Id"],
        name=container["Name"].removeprefix("/"),
        instance=labels.get(LABEL_INSTANCE, ""),
        uid=labels.get(LABEL_UID, ""),
        attempt=attempt_of(labels),
        state=_STATES[state["Status"]],
        spec_hash=labels.get(LABEL_SPEC_HASH, ""),
        limits=limits_of(host),
        image_id=container["Image"],
        exit_code=state["ExitCode"] if ended else None,
        # The engine raises its flag for any process of the container and keeps it over a restart of the container;
        # only together with this exit code does it speak of the first process.
        oom_killed=ended and state["OOMKilled"] and state["ExitCode"] == _KILLED,
        started_at=_instant(state["StartedAt"]),
        finished_at=_instant(state["FinishedAt"]) if ended else None,
        error=state["Error"] or None,
        notice=_notice(container, network),
    )


def _notice(container: Json, network: str) -> str | None:
    if container["State"]["Status"] != "running" or network in container["NetworkSettings"]["Networks"]:
        return None
    name = container["Name"].removeprefix("/")
    return f"it was taken off the network {network!r} and reaches nobody: 'docker network connect {network} {name}'"


def limits_of(host_config: Json) -> Limits:
    """Return the limits in force; 0 is "none" in all three."""
    return Limits(
        cpus=(host_config.get("NanoCpus") or 0) / 1e9,
        memory=host_config.get("Memory") or 0,
        pids=host_config.get("PidsLimit") or 0,
    )


def attempt_of(labels: Json) -> int:
    """Return the attempt a container says it is; 0, which no attempt ever is, when it says nothing sensible."""
    text = labels.get(LABEL_ATTEMPT, "")
    return int(text) if text.isdecimal() else 0


def _instant(text: str) -> datetime | None:
    return None if text.startswith("0001-") else datetime.fromisoformat(text)
