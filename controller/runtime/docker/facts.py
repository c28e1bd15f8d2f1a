"""What the Docker engine says of itself. A connection of its own, so that no look stands in line behind work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.runtime.facts import EngineFacts

from .engine import Engine, Json
from .network import examine_network

if TYPE_CHECKING:
    from controller.settings import Settings

_LIMITS = {
    "memory": "MemoryLimit",
    "swap": "SwapLimit",
    "CPU": "CpuCfsQuota",
    "processes": "PidsLimit",
}


class DockerFacts:
    """See :class:`~controller.runtime.facts.EngineView`.

    Args:
        network: name of the network of instances.
    """

    def __init__(self, network: str, engine: Engine | None = None) -> None:
        self._network = network
        self._engine = engine or Engine()

    @classmethod
    def from_settings(cls, settings: Settings) -> DockerFacts:
        """Return the view on the engine the environment names; nothing is asked of it yet."""
        return cls(settings.network)

    def close(self) -> None:
        """Drop idle connections."""
        self._engine.close()

    def ping(self) -> None:
        """Return if the engine answers."""
        with self._engine.call("answer") as client:
            client.ping()

    def facts(self) -> EngineFacts:
        """Return what ``docker info`` and ``docker version`` show; see https://docs.docker.com/reference/api/engine/."""
        with self._engine.call("describe itself") as client:
            info: Json = client.info()
            version = client.api_version
        return EngineFacts(
            version=str(info.get("ServerVersion", "unknown")),
            api_version=version,
            storage_driver=str(info.get("Driver", "unknown")),
            cgroup_version=str(info.get("CgroupVersion", "1")),
            system=f"{info.get('OperatingSystem', 'unknown')}, Linux {info.get('KernelVersion', 'unknown')}",
            security=tuple(map(str, info.get("SecurityOptions") or ())),
            live_restore=bool(info.get("LiveRestoreEnabled")),
            missing_limits=tuple(name for name, key in _LIMITS.items() if not info.get(key)),
            root=str(info.get("DockerRootDir", "")),
            cpus=int(info.get("NCPU", 0)),
            memory=int(info.get("MemTotal", 0)),
            warnings=tuple(map(str, info.get("Warnings") or ())),
        )

    def network(self) -> str | None:
        """Return a word on the network of instances."""
        return examine_network(self._engine, self._network)
