"""Noticing agents that fell silent: the one thing about a healthy instance that only time tells.

One look at all of them, so that no instance needs a pass of its own every few seconds to learn that nothing happened.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.agents import Agents
from controller.beat import Beat

from .observed import Pace

LOOK_SECONDS = 1.0


class SilenceWatch(Beat):
    """Wakes each instance once when its agent becomes silent; the pass tells it, and looks at the deadline itself.

    Args:
        name_of: returns the name of the instance with a uid, ``None`` if there is none.
        wake: called with the name.
    """

    def __init__(
        self, links: Agents, pace: Pace, name_of: Callable[[str], str | None], wake: Callable[[str], None]
    ) -> None:
        super().__init__("silence", LOOK_SECONDS, "silence not looked for")
        self._links = links
        self._pace = pace
        self._name_of = name_of
        self._wake = wake
        self._silent: frozenset[str] = frozenset()

    def beat(self) -> None:
        """Look once."""
        silent = {uid for uid, heard in self._links.all_heard().items() if heard.age >= self._pace.silent_after}
        for uid in silent - self._silent:
            if (name := self._name_of(uid)) is not None:
                self._wake(name)
        self._silent = frozenset(silent)
