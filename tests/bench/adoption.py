"""The controller is killed while a fleet runs: how soon a new one has every instance in hand, restarting none.

An instance counts as adopted when a watch client sees it Ready with a measurement that its agent made after the kill:
only a controller that hears the agent can have passed that on.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from api.client import WatchEvent
from controller.resources import Instance
from support.deadline import eventually

from .findings import Arm, Finding
from .intervals import exactly, median
from .run import Run
from .single import main
from .watcher import Watcher, is_ready


def measure(run: Run) -> list[Finding]:
    """Kill it once for each pair; the next one is started at once, as a supervisor would."""
    names, product = run.fleet, run.product
    adopted, answering = Arm("s"), Arm("s")
    before = _starts(run)
    for _ in range(run.options.pairs):
        with Watcher(product.client) as watcher:
            run.settle()
            watcher.forget()
            killed, began = datetime.now(UTC), time.monotonic()
            product.kill_controller()
            product.start_controller()

            def heard(event: WatchEvent, killed: datetime = killed) -> bool:
                usage = event.object.status.usage if isinstance(event.object, Instance) else None
                return is_ready(event) and usage is not None and usage.at > killed

            eventually(product.answers, timeout=60, what="the controller answers", pause=0.01)
            answering.samples.append(time.monotonic() - began)
            seen = watcher.until(set(names), heard, timeout=120)
        adopted.samples.append(max(*seen.values(), began + answering.samples[-1]) - began)
        run.say(f"adoption: answers after {answering.samples[-1]:.1f} s, adopted after {adopted.samples[-1]:.1f} s")
    again = sum(after != before[name] for name, after in _starts(run).items())
    return [
        Finding("adoption.time", median(adopted.samples), {"adopted": adopted, "API ready": answering}),
        Finding("adoption.restarts", exactly(again)),
    ]


def _starts(run: Run) -> dict[str, tuple[object, object]]:
    """Return what would be different if an instance had been started again."""
    return {each.metadata.name: (each.status.restarts, each.status.started_at) for each in run.product.instances()}


if __name__ == "__main__":
    main(measure)
