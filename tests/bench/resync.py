"""What looking again costs when nothing is to be done, for each instance, as the fleet grows.

One worker, one round over all names, as the resync announces them. A round that writes anything is not a no-op and
fails the measure.
"""

from __future__ import annotations

import gc
import time
from contextlib import ExitStack

from controller.reconcile.loop import Controller, Request

from .fakes import QuickWorld
from .findings import Arm, Finding
from .intervals import median_ratio
from .run import Run
from .single import main

LEAST = 1000
"""Passes in one sample, so that small fleets are looked at several times."""


def measure(run: Run) -> list[Finding]:
    """Measure the fleets in turn."""
    sizes = run.options.fakes
    arms = {size: Arm("ms") for size in sizes}
    with ExitStack() as stack:
        loops = {}
        for size in sizes:
            run.say(f"resync: making a fleet of {size}")
            world = QuickWorld(run.directory / f"resync-{size}")
            stack.callback(world.close)
            loops[size] = _Loop(world, size)
        gc.collect()
        gc.freeze()  # the fake worlds lie in this process's memory; the controller has no such heap to search
        stack.callback(gc.unfreeze)
        for _ in range(run.options.pairs):
            for size in sizes:
                loops[size].round(arms[size])
        run.say(f"resync: { {size: round(arm.samples[-1], 3) for size, arm in arms.items()} } ms")
    small, middle, large = sizes
    return [
        Finding("resync.1000", median_ratio(arms[middle].samples, arms[small].samples), _pick(arms, middle, small)),
        Finding("resync.5000", median_ratio(arms[large].samples, arms[small].samples), _pick(arms, large, small)),
    ]


def _pick(arms: dict[int, Arm], one: int, other: int) -> dict[str, Arm]:
    return {f"{one:,}": arms[one], f"{other:,}": arms[other]}


class _Loop:
    def __init__(self, world: QuickWorld, size: int) -> None:
        self._world, self._size = world, size
        world.register()
        for number in range(size):
            world.declare(f"instance-{number}")
            world.settle(f"instance-{number}")
        self._loop = Controller("instance", world.reconciler(), (), workers=1)
        self._round()  # what an agent said first is taken over

    def round(self, arm: Arm) -> None:
        before = self._world.store.revision()
        times = max(1, LEAST // self._size)
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            self._round()
        passes = times * self._size
        arm.samples.append((time.perf_counter() - began) / passes * 1000)
        arm.cpu_seconds.append((time.process_time() - cpu) / passes)
        if self._world.store.revision() != before:
            raise RuntimeError("a resync that should have nothing to do wrote something")

    def _round(self) -> None:
        for name in self._world.store.instances.names():
            self._loop.queue.add(Request(name))
        while self._loop.process_next(timeout=0.0):
            pass


if __name__ == "__main__":
    main(measure)
