"""All runtimes of this process by name, and which of them an instance belongs to.

A runtime is made when the first instance asks for it, from the entry point of its name in the group
``cc_orchestrator.runtimes``. An instance stays with the runtime that carried it first, whatever the setting says later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from controller.errors import Terminal
from controller.resources import Instance
from controller.settings import Settings

from .protocol import Runtime

GROUP = "cc_orchestrator.runtimes"


class ConfiguredRuntime(Runtime, Protocol):
    """What an entry point of :data:`GROUP` names."""

    @classmethod
    def from_settings(cls, settings: Settings, installation: str) -> Runtime:
        """Return the runtime for one installation."""


class Runtimes:
    """The runtimes there are.

    Args:
        default: name of the one for instances that name none.
        makers: how to make each one, by name; called once at most.
    """

    def __init__(self, default: str, makers: Mapping[str, Callable[[], Runtime]]) -> None:
        self.default = default
        self._makers = makers
        self._made: dict[str, Runtime] = {}
        self._making = threading.Condition()

    @classmethod
    def from_settings(cls, settings: Settings, installation: str) -> Runtimes:
        """Return the installed runtimes, the setting ``runtime`` being the default.

        Raises:
            Terminal: ``UnknownRuntime``.
        """
        points = {point.name: point for point in entry_points(group=GROUP)}
        runtimes = cls(
            settings.runtime, {name: _maker(point, settings, installation) for name, point in points.items()}
        )
        runtimes.named(settings.runtime)
        return runtimes

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the installed runtimes."""
        return tuple(sorted(self._makers))

    def named(self, name: str) -> Runtime:
        """Return a runtime by name.

        Raises:
            Terminal: ``UnknownRuntime``, naming those that are installed.
        """
        with self._making:
            if name not in self._made:
                if name not in self._makers:
                    names = ", ".join(self.names) or "none"
                    raise Terminal("UnknownRuntime", f"runtime {name!r} is not installed; there is: {names}")
                self._made[name] = self._makers[name]()
                self._making.notify_all()
            return self._made[name]

    def in_use(self, name: str, timeout: float) -> Runtime | None:
        """Return a runtime if something has asked for it, waiting up to ``timeout`` seconds for that."""
        with self._making:
            self._making.wait_for(lambda: name in self._made, timeout)
            return self._made.get(name)

    def aside(self, name: str) -> Runtime:
        """Return a runtime to look at once, without its counting as one that something has asked for."""
        with self._making:
            return self._made.get(name) or self._makers[name]()

    def of(self, instance: Instance) -> Runtime:
        """Return the runtime that carries an instance, or will."""
        return self.named(self.name_of(instance))

    def name_of(self, instance: Instance) -> str:
        """Return the name of the runtime that carries an instance, or will."""
        return instance.status.runtime or instance.spec.runtime or self.default


def only(runtime: Runtime, name: str = "docker") -> Runtimes:
    """Return the choice where there is but one."""
    runtimes = Runtimes(name, {name: lambda: runtime})
    runtimes.named(name)
    return runtimes


def _maker(point: EntryPoint, settings: Settings, installation: str) -> Callable[[], Runtime]:
    def make() -> Runtime:
        factory: type[ConfiguredRuntime] = point.load()
        return factory.from_settings(settings, installation)

    return make
