"""A container dies: how soon it runs again, and how soon a client knows.

The container's first process is killed from the outside, as the kernel would, once for each sample: one of the
product's instances; a container that a bare script follows and starts again; one with Docker's own restart policy.
When it died and when it ran again is what one subscriber to the engine's events, apart from all three, is told.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import docker

from api.client import WatchEvent
from controller.resources import Instance

from .findings import Arm, Finding
from .image import LABEL
from .intervals import bootstrap, median_ratio, percentile
from .run import Run
from .single import main
from .watcher import Watcher

SAMPLES_PER_PAIR = 4
CONTAINERS = 5
PATIENCE = 60.0


class Observer:
    """Notes when the engine's events come in, while the block runs."""

    def __init__(self) -> None:
        self.client = docker.APIClient(version="auto", timeout=60)
        filters = {"type": "container", "label": [f"{LABEL}=1"], "event": ["die", "start"]}
        self._events = self.client.events(decode=True, filters=filters)
        self._seen: queue.SimpleQueue[tuple[float, str, str]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()
        self.client.close()

    def _run(self) -> None:
        try:
            for event in self._events:
                self._seen.put((time.monotonic(), event["Actor"]["ID"], event["Action"]))
        except (OSError, ValueError):
            return  # closed

    def kill(self, container: str) -> float:
        """End the container's first process; returns when (monotonic seconds)."""
        pid = int(self.client.inspect_container(container)["State"]["Pid"])
        if pid <= 0:  # 0 would be we ourselves
            raise RuntimeError(f"container {container[:12]} does not run")
        at = time.monotonic()
        try:
            os.kill(pid, signal.SIGKILL)
        except PermissionError:
            raise RuntimeError("only root may kill a container's process from outside: run this as root") from None
        return at

    def until(self, container: str, action: str) -> float:
        """Return when the event came."""
        deadline = time.monotonic() + PATIENCE
        while True:
            at, who, what = self._seen.get(timeout=max(deadline - time.monotonic(), 0.001))
            if (who, what) == (container, action):
                return at


def measure(run: Run) -> list[Finding]:
    """Kill one of each in turn."""
    arms = {name: Arm("ms") for name in ("product", "event and start", "restart policy")}
    seen, heard = Arm("ms"), Arm("ms")
    victims = run.fleet[: SAMPLES_PER_PAIR * run.options.pairs]
    follow, policy = run.names(CONTAINERS, "follow"), run.names(CONTAINERS, "policy")
    run.raw.start([*follow, *policy], "agent")
    run.raw.ask("policy", policy)
    run.raw.ask("follow", follow)
    ids = run.raw.ask("containers")
    containers = {
        each.metadata.name: each.status.workload.id for each in run.product.instances() if each.status.workload
    }
    with Observer() as observer, Watcher(run.product.client) as watcher:
        for number, name in enumerate(victims):
            run.settle()
            watcher.forget()
            killed = observer.kill(containers[name])
            heard.samples.append(1000 * (observer.until(containers[name], "die") - killed))
            arms["product"].samples.append(1000 * (observer.until(containers[name], "start") - killed))
            told = watcher.until([name], tells_of(killed), timeout=PATIENCE)
            seen.samples.append(1000 * (told[name] - killed))
            for arm, others in (("event and start", follow), ("restart policy", policy)):
                other = ids[others[number % CONTAINERS]]
                run.settle()
                killed = observer.kill(other)
                arms[arm].samples.append(1000 * (observer.until(other, "start") - killed))
    run.say(f"death: { {name: round(arm.samples[-1]) for name, arm in arms.items()} } seen {seen.samples[-1]:.0f} ms")
    run.raw.delete([*follow, *policy])
    ours = arms["product"]
    return [
        Finding("death.restart", median_ratio(ours.samples, arms["event and start"].samples), arms),
        Finding("death.policy", median_ratio(ours.samples, arms["restart policy"].samples), arms),
        Finding("death.seen", median_ratio(seen.samples, heard.samples), {"watch client": seen, "subscriber": heard}),
        Finding("death.seen_p95", bootstrap(seen.samples, lambda each: percentile(each, 0.95)), {"watch client": seen}),
    ]


def tells_of(killed: float) -> Callable[[WatchEvent], bool]:
    """Return what tells whether a change says that the instance died after that moment (monotonic seconds)."""
    at = time.time() - (time.monotonic() - killed)

    def look(event: WatchEvent) -> bool:
        instance = event.object
        if not isinstance(instance, Instance):
            return False
        last = instance.status.last_exit
        gone = instance.status.workload is None or instance.status.workload.state != "running"
        return gone or (last is not None and last.finished_at.timestamp() >= at)

    return look


if __name__ == "__main__":
    main(measure)
