"""What the fake engine says of itself; see ``controller.runtime.facts``."""

from __future__ import annotations

import dataclasses
import threading

from controller.runtime.facts import EngineFacts

from .fake_engine import FakeEngine, unavailable

GIB = 1024**3

HEALTHY = EngineFacts(
    version="28.0.1",
    api_version="1.48",
    storage_driver="overlay2",
    cgroup_version="2",
    system="Debian GNU/Linux 13, Linux 6.12",
    security=("name=seccomp,profile=builtin", "name=cgroupns"),
    live_restore=True,
    missing_limits=(),
    root="/nowhere/docker",
    cpus=8,
    memory=16 * GIB,
)


class FakeEngineView:
    """Looks at a :class:`FakeEngine`.

    Attributes:
        said: what it says of itself.
        trouble: raised by a look at the network.
        released: while set to an event, looks hang until it is set, ten seconds at most.
    """

    def __init__(self, engine: FakeEngine, network: str = "cco", said: EngineFacts = HEALTHY) -> None:
        self.engine = engine
        self.said = said
        self.trouble: Exception | None = None
        self.released: threading.Event | None = None
        self.looks = 0
        self._network = network

    def say(self, **changes: object) -> None:
        """Let the engine say something else of itself."""
        self.said = dataclasses.replace(self.said, **changes)  # type: ignore[arg-type]  # the caller names real fields

    def ping(self) -> None:
        """Return if the engine answers."""
        self.looks += 1
        self._answer()

    def facts(self) -> EngineFacts:
        """Return what the engine says of itself."""
        self.looks += 1
        self._answer()
        return self.said

    def network(self) -> str | None:
        """Return a word on the network, if there is one."""
        self._answer()
        if self.trouble is not None:
            raise self.trouble
        return f"{self._network}: isolated" if self._network in self.engine.networks else None

    def _answer(self) -> None:
        if self.released is not None:
            self.released.wait(10.0)
        if self.engine.away:
            raise unavailable()
