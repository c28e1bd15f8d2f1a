"""What the loop needs of the agents; ``link`` is the real thing, tests have a fake that lives with the fake runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .report import AgentConfig, Report


@dataclass(frozen=True, slots=True)
class Heard:
    """What the agent of one instance said last.

    Attributes:
        age: seconds since the report came in, or, where that is later, since this process began to listen (again); by
            the monotonic clock.
        connected: whether the agent's connection stands now.
        handed_over: ids of the inputs that went out on the current connection.
    """

    report: Report
    age: float
    connected: bool
    handed_over: frozenset[str]


class Agents(Protocol):
    """The agents of all instances, by uid; every verb is idempotent."""

    def open(self, name: str, uid: str) -> None:
        """Listen for the agent of an instance."""

    def forget(self, uid: str) -> None:
        """Stop listening for an instance and drop what it said."""

    def configure(self, config: AgentConfig) -> None:
        """Leave the configuration where the agent reads it at its start."""

    def heard(self, uid: str) -> Heard | None:
        """Return the newest report, or ``None`` when the agent never said anything to this process."""

    def all_heard(self) -> dict[str, Heard]:
        """Return the newest report of every instance by uid."""

    def listening_for(self, uid: str) -> float:
        """Return the seconds since this process has been able to hear the agent; 0 when it is not."""

    def send_input(self, uid: str, input_id: str, text: str) -> bool:
        """Hand a prompt to the agent; returns whether it went out. Handing it over twice does no harm.

        Raises:
            Retryable: ``Busy``; so do ``open`` and ``forget``.
        """
