"""One controller process in the simulation: the real loops, sources and reconcilers over the fakes.

Wired as ``controller.application`` wires them. A restart of the controller is a second :class:`Process` over
the same :class:`SimulatedWorld`, which is everything that outlives a process.
"""

# ruff: noqa: ANN401  # a clock in datetime's place

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from controller.reconcile import loop, sources, workqueue
from controller.reconcile.brake import FleetBrake
from controller.reconcile.loop import Controller, Reconciler, Request, Result, Source
from controller.reconcile.pacing import StartTurns
from controller.reconcile.sources import ResyncSource, RuntimeSource, StoreSource
from controller.reconcile.workqueue import Workqueue
from controller.resources import Kind
from controller.store import events, inputs, objects
from support.delayed_agents import Boxes, DelayedAgents
from support.fake_engine import Events
from support.simulated_threads import Schedule, SimulatedThread, SimulatedThreading
from support.stepped_store import SteppedStore
from support.world import World

IDLE_POLL_SECONDS = 20.0
"""How long sources sleep here; a shorter time would only make the same steps more often."""


@contextmanager
def simulated(schedule: Schedule, now: Callable[[], datetime]) -> Iterator[None]:
    """Put the schedule where the product has its threads and clocks."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return now().astimezone(tz)

    threads = SimulatedThreading(schedule)
    with ExitStack() as stack:
        for module in (loop, workqueue):
            stack.enter_context(mock.patch.object(module, "threading", threads))
        for store_module in (objects, events, inputs):
            stack.enter_context(mock.patch.object(store_module, "datetime", Clock))
        stack.enter_context(mock.patch.object(sources, "POLL_SECONDS", IDLE_POLL_SECONDS))
        yield


class SimulatedWorld(World):
    """What outlives a controller process, with a pause before every call of it.

    Attributes:
        stepped: the store's switches of misbehaviour.
        boxes: the agents.
    """

    def __init__(self, directory: Path, schedule: Schedule, random: Random) -> None:
        super().__init__(directory)
        self.schedule = schedule
        self.store, self.stepped = SteppedStore.around(self.store, schedule)
        self.boxes = Boxes(self.agents, schedule, random, heartbeat=self.settings.heartbeat_seconds)
        self.boxes.credentials = lambda: self.credentials
        self.engine.next_event = self._next_event

    def _next_event(self, events: Events) -> str | None:
        if not self.schedule.wait("wait for an event of the engine", lambda: not events.empty(), IDLE_POLL_SECONDS):
            raise queue.Empty
        return events.get_nowait()

    def name_of(self, uid: str) -> str | None:
        return self.store.instances.name_of(uid)


@dataclass
class Watched:
    """Lets somebody see every pass begin and end."""

    inner: Reconciler
    watch: Callable[[str], AbstractContextManager[None]]

    def reconcile(self, request: Request) -> Result:
        with self.watch(request.name):
            return self.inner.reconcile(request)


class Process:
    """One process; its threads belong to ``name``.

    Args:
        turns: instances that may be starting at the same time.
        watch: wraps every pass of an instance, by its name.
    """

    def __init__(
        self,
        name: str,
        world: SimulatedWorld,
        random: Random,
        *,
        workers: int,
        turns: int,
        watch: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self.name = name
        self.world = world
        self._random = random
        self.agents = DelayedAgents(world.boxes, world.engine, lambda: world.now)
        self.agents.on_change = self._wake
        world.agents, world.boxes.view = self.agents, self.agents
        world.schedule.process = name
        world.turns = StartTurns(turns, self._wake, clock=lambda: world.schedule.now)
        world.brake = FleetBrake()
        self.reconciler = world.reconciler()
        runtimes = self.reconciler.runtimes
        names, resync = world.store.instances.names, world.settings.resync_seconds
        self.instances = self._controller(
            "instance",
            Watched(self.reconciler, watch),
            StoreSource(world.store, Kind.INSTANCE, names),
            RuntimeSource(runtimes, runtimes.default, world.name_of, names),
            ResyncSource(names, resync),
            workers=workers,
        )
        self.repositories = self._controller(
            "repository",
            replace(world.repository_reconciler(), on_change=self._wake),
            StoreSource(world.store, Kind.REPOSITORY, world.store.repositories.names),
            ResyncSource(world.store.repositories.names, resync),
            workers=1,
        )

    def _controller(self, kind: str, reconciler: Reconciler, *feeds: Source, workers: int) -> Controller:
        made = Controller(f"{self.name} {kind}", reconciler, feeds, workers=workers)
        made.queue = Workqueue(clock=lambda: self.world.schedule.now, jitter=self._random.random)
        return made

    def _wake(self, name: str) -> None:
        self.instances.queue.add(Request(name))

    def start(self) -> None:
        """Start all its threads."""
        self.repositories.start()
        self.instances.start()

    def kill(self) -> None:
        """End it where it is."""
        self.world.boxes.view = None
        self.world.schedule.kill(self.name)

    def stop(self) -> None:
        """Ask it to end; the passes that run are finished."""
        self.world.schedule.process = self.name
        SimulatedThread(self.world.schedule, self._stop, (), f"{self.name} stop").start()

    def _stop(self) -> None:
        self.instances.stop(60.0)
        self.repositories.stop(60.0)

    def resync(self) -> None:
        """Ask for a pass of everything."""
        for name in self.world.store.repositories.names():
            self.repositories.queue.add(Request(name))
        for name in self.world.store.instances.names():
            self.instances.queue.add(Request(name))
