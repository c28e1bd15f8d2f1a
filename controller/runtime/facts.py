"""What an engine says of itself, for ``controller.doctor``; a runtime without an engine says nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """One engine.

    Attributes:
        security: its security options, for example ``name=seccomp,profile=default``.
        live_restore: its containers outlive a restart of the engine.
        missing_limits: limits of the kernel it cannot enforce, by name.
        root: folder with its containers and images, as the engine sees it.
        memory: bytes of the machine.
        warnings: its own.
    """

    version: str
    api_version: str
    storage_driver: str
    cgroup_version: str
    system: str
    security: tuple[str, ...]
    live_restore: bool
    missing_limits: tuple[str, ...]
    root: str
    cpus: int
    memory: int
    warnings: tuple[str, ...] = field(default=())


class EngineView(Protocol):
    """Looks at an engine and changes nothing. Every look raises ``Unavailable`` where the engine does not answer."""

    def ping(self) -> None:
        """Return if the engine answers; the cheapest question there is."""

    def facts(self) -> EngineFacts:
        """Return what the engine says of itself."""

    def network(self) -> str | None:
        """Return a word on the network of instances, or ``None`` where there is none yet.

        Raises:
            Conflict, Terminal: it is not ours, or does not keep instances apart.
        """
