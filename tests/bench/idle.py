"""What a fleet costs that does nothing: the controller's CPU time, and what it asks of the engine.

Each window is as long as the resync period, so that every one contains one resync. The controller reaches the engine
through a counting proxy, which is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.deadline import eventually
from support.host_system import ROOT, stop_process

from .findings import Arm, Finding
from .intervals import exactly, median
from .processes import cpu_seconds, machine_cpu
from .run import Run
from .single import main

QUIET_SECONDS = 10.0


def measure(run: Run) -> list[Finding]:
    """Look at the idle fleet, window by window."""
    names = run.fleet
    product = run.product
    controller, server = Arm("% of a core"), Arm("% of a core")
    requests: Counter[str] = Counter()
    with _counting(run.directory / "engine.sock") as proxy:
        product.kill_controller()
        product.system.environment["DOCKER_HOST"] = f"unix://{run.directory / 'engine.sock'}"
        try:
            product.start_controller()
            eventually(product.answers, timeout=60, what="the controller answers")
            time.sleep(QUIET_SECONDS)
            _counts(proxy)
            for _ in range(run.options.pairs):
                before = [cpu_seconds([pid]) for pid in product.pids]
                all_, began = machine_cpu(), time.monotonic()
                time.sleep(run.options.window)
                length = time.monotonic() - began
                for arm, pid, used in zip((controller, server), product.pids, before, strict=True):
                    arm.cpu_seconds.append(cpu_seconds([pid]) - used)
                    arm.samples.append(100 * arm.cpu_seconds[-1] / length)
                controller.machine_cpu_seconds.append(machine_cpu() - all_)
                requests.update(_counts(proxy))
                run.say(f"idle: controller {controller.samples[-1]:.1f} %, server {server.samples[-1]:.1f} %")
        finally:
            del product.system.environment["DOCKER_HOST"]
            product.kill_controller()
            product.start_controller()
            eventually(product.answers, timeout=60, what="the controller answers")
    forbidden = sum(count for kind, count in requests.items() if "exec" in kind or "stats" in kind)
    windows = max(run.options.pairs, 1)
    notes = [f"{count / windows:.0f} {kind}" for kind, count in requests.most_common()]
    told = (f"{len(names)} instances, requests to the engine in {run.options.window:.0f} s: {', '.join(notes)}",)
    return [
        Finding("idle.cpu", median(controller.samples), {"controller": controller, "server": server}, told),
        Finding("idle.exec", exactly(forbidden), {}, told),
    ]


@contextmanager
def _counting(path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    argv = [sys.executable, "-m", "bench.engine_requests", str(path)]
    with subprocess.Popen(
        argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            _answer(process)
            yield process
        finally:
            stop_process(process)  # type: ignore[arg-type]  # of text instead of bytes, which is nothing to it


def _counts(process: subprocess.Popen[str]) -> dict[str, int]:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return _answer(process)


def _answer(process: subprocess.Popen[str]) -> dict[str, int]:
    assert process.stdout is not None
    told: dict[str, int] = json.loads(process.stdout.readline())
    return told


if __name__ == "__main__":
    main(measure)
