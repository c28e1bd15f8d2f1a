"""From a WorkloadSpec to the container the engine is asked for: limits, mounts, hardening.

The names are those of the Engine API (``POST /containers/create``). Every line that takes something away from the
container is checked from inside a real one by ``tests/integration/runtime/test_hardening.py``.
"""

from __future__ import annotations

from typing import Any

from controller.runtime.protocol import (
    LABEL_ATTEMPT,
    LABEL_INSTALLATION,
    LABEL_INSTANCE,
    LABEL_SPEC_HASH,
    LABEL_UID,
    Limits,
    Mount,
    WorkloadSpec,
)

HOME = "/home/agent"
SECRETS = "/run/secrets"

# An engine cannot give more than its own hard limit (20,000 on a small machine), or the start fails.
_OPEN_FILES = 16_384
_TMP_BYTES = 1024**3
_SECRETS_BYTES = 1024**2
# When the whole machine runs out of memory, an instance goes before what the machine is there for.
_OOM_SCORE = 500


def container_name(prefix: str, instance: str, attempt: int) -> str:
    """Return the name people type; the attempt keeps a replacement apart from its predecessor."""
    return f"{prefix}-{instance}-{attempt}"


def home_name(prefix: str, instance: str, uid: str) -> str:
    """Return the name of the volume that holds HOME; a new instance of an old name gets a new one."""
    return f"{prefix}-{instance}-{uid[:8]}-home"


# An image that `docker compose` built carries its project and service as labels, which containers inherit: our
# containers would look like that project's own, and `docker compose down --remove-orphans` would remove them.
_NO_SERVICE = {"com.docker.compose.project": "", "com.docker.compose.service": ""}


def home_labels(installation: str, instance: str, uid: str) -> dict[str, str]:
    """Return the labels that make a HOME ours."""
    return {LABEL_INSTALLATION: installation, LABEL_INSTANCE: instance, LABEL_UID: uid}


def limits_body(limits: Limits) -> dict[str, int]:
    """Return the limits as the engine takes them, at creation and live; memory and swap together: no swap."""
    return {
        "NanoCpus": round(limits.cpus * 1e9),
        "Memory": limits.memory,
        "MemorySwap": limits.memory,
        "PidsLimit": limits.pids,
    }


def container_body(spec: WorkloadSpec, *, installation: str, prefix: str, network: str) -> dict[str, Any]:
    """Return the body of the request that creates the workload's container."""
    uid, gid = spec.user
    defaults = {"LANG": "C.UTF-8", "TERM": "xterm-256color"}
    fixed = {"HOME": HOME, "CCO_INSTANCE": spec.name}
    return {
        "Image": spec.image,
        "Hostname": spec.name,
        "User": f"{uid}:{gid}",
        "WorkingDir": spec.workdir,
        "Env": [f"{key}={value}" for key, value in {**defaults, **spec.env, **fixed}.items()],
        "Labels": {
            **_NO_SERVICE,
            **spec.labels,
            **home_labels(installation, spec.name, spec.uid),
            LABEL_ATTEMPT: str(spec.attempt),
            LABEL_SPEC_HASH: spec.spec_hash,
        },
        # An image's own health check would run an exec, 40 ms of CPU each time, that nobody reads.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host_config(spec, installation=installation, prefix=prefix, network=network),
    }


def _host_config(spec: WorkloadSpec, *, installation: str, prefix: str, network: str) -> dict[str, Any]:
    home = {
        "Type": "volume",
        "Source": home_name(prefix, spec.name, spec.uid),
        "Target": HOME,
        "VolumeOptions": {"Labels": home_labels(installation, spec.name, spec.uid)},
    }
    return {
        **limits_body(spec.limits),
        "Mounts": [*(_bind(mount) for mount in spec.mounts), home],
        "Tmpfs": _tmpfs(spec),
        "NetworkMode": network,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "ReadonlyRootfs": True,
        "Privileged": False,
        "IpcMode": "private",
        "Init": True,
        "OomScoreAdj": _OOM_SCORE,
        # A core dump would put what the processes know, credentials too, into the worktree.
        "Ulimits": [
            {"Name": "nofile", "Soft": _OPEN_FILES, "Hard": _OPEN_FILES},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
    }


def _bind(mount: Mount) -> dict[str, Any]:
    # A mount, never an entry in Binds: the engine refuses a missing source here and would invent one there.
    return {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _tmpfs(spec: WorkloadSpec) -> dict[str, str]:
    uid, gid = spec.user
    # What lies in a tmpfs counts as the container's memory: a full /tmp shall be an error, not a killed process.
    size = min(_TMP_BYTES, spec.limits.memory // 2)
    return {
        "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={size}",  # noqa: S108  # a path in the container
        SECRETS: f"rw,noexec,nosuid,nodev,mode=0700,uid={uid},gid={gid},size={_SECRETS_BYTES}",
    }
