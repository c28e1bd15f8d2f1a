"""What is measured and how good it has to be: one entry per number of the table in docs/performance.md.

``MEASURES`` are the modules that measure; each has ``measure(run)`` and returns a finding for each of its goals.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """One number.

    Attributes:
        key: stable name, ``MODULE.WHAT``; the first part is the module of this package that measures it.
        text: what it is, for people.
        limit: the goal; ``None`` = told beside the goals, without one.
        unit: ``x`` for a ratio.
        at_least: larger is better.
    """

    key: str
    text: str
    limit: float | None
    unit: str = "x"
    at_least: bool = False

    @property
    def module(self) -> str:
        """Name of the module that measures it."""
        return self.key.partition(".")[0]

    def is_met(self, value: float) -> bool:
        """Tell whether a value is good enough."""
        if self.limit is None:
            return True
        return value >= self.limit if self.at_least else value <= self.limit


GOALS: tuple[Goal, ...] = (
    Goal("resync.1000", "no-op resync per instance, fake runtime, 1,000 vs 100", 1.3),
    Goal("resync.5000", "no-op resync per instance, fake runtime, 5,000 vs 100", 2.5),
    Goal("posts.rate", "1,000 POSTs to 1,000 Ready, fake runtime", 250, "/s", at_least=True),
    Goal("start.1", "1 instance: first POST to last Ready / the same by a bare script", 1.35),
    Goal("start.5", "5 instances: first POST to last Ready / the same by a bare script", 1.25),
    Goal("start.20", "20 instances: first POST to last Ready / the same by a bare script", 1.25),
    Goal("start.1_tmux", "1 instance / a bare script whose containers have tmux and no agent", None),
    Goal("start.5_tmux", "5 instances / a bare script whose containers have tmux and no agent", None),
    Goal("start.20_tmux", "20 instances / a bare script whose containers have tmux and no agent", None),
    Goal("start.delete", "delete of 20 / a bare script", 1.3),
    Goal("death.restart", "death to running / event and start by a bare script", 1.25),
    Goal("death.policy", "death to running / Docker's own restart policy", 1.0),
    Goal("death.seen", "death to seen by a watch client / raw event subscriber", 2.0),
    Goal("death.seen_p95", "death to seen by a watch client, p95", 60, "ms"),
    Goal("answers.one", "GET one instance, rate / a bare route with the same bytes", 0.5, at_least=True),
    Goal("answers.list", "GET 100 instances, rate / a bare route with the same bytes", 0.5, at_least=True),
    Goal("answers.p99", "GET one while 20 start, p99", 50, "ms"),
    Goal("idle.cpu", "idle, 100 tmux containers, metrics at 1 Hz: controller CPU", 1.4, "% of a core"),
    Goal("idle.exec", "exec and stats requests to the engine meanwhile", 0, "requests"),
    Goal("commands.time", "cco get instances (100)", 350, "ms"),
    Goal("commands.ratio", "cco get instances (100) / a bare httpx program", 2.0),
    Goal("memory.pss", "controller and server with 100 instances, PSS", 250, "MiB"),
    Goal("adoption.time", "controller killed with 100 running, to all adopted and API ready", 3.0, "s"),
    Goal("adoption.restarts", "restarts of instances by that", 0, "restarts"),
)

MEASURES: tuple[str, ...] = tuple(dict.fromkeys(goal.module for goal in GOALS))


def goal(key: str) -> Goal:
    """Return the goal of that key."""
    return next(each for each in GOALS if each.key == key)
