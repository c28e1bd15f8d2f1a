"""One seeded run: the whole controller, its world and its people, every step chosen by one random generator.

A step is the next thing to happen anywhere: a thread of the controller goes on to its next side effect, a report
arrives, time passes, or somebody does something (``actions``). What must hold is in ``ledger`` (at every step) and in
``oracles`` (when the world has stopped failing).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from controller.errors import CcoError
from controller.reconcile.workqueue import BACKOFF_LIMIT
from support.fake_engine import unavailable
from support.simulated_threads import Schedule, Stuck

from .doors import DOORS, Door
from .ledger import Ledger
from .oracles import problems, unseen
from .process import Process, SimulatedWorld, simulated

NAMES = ("web", "api", "db")
STARTING_VERBS = frozenset({"create", "start"})
CONVERGENCE_SECONDS = 1500.0
"""Simulated: longer than the longest pause between two tries and the longest deadline together."""
CONVERGENCE_STEPS = 20_000
BUSY_STEPS = 4000
"""More than this, and again for every minute, is not the work of a few instances."""
PASSES_PER_MINUTE = 30
ATTEMPTS_PER_MINUTE = 10
_LONGEST_TRACE = 4000

for _name in ("controller.reconcile", "controller.agents"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Violation(AssertionError):
    """Something happened that must never happen; the message has the seed and the trace."""


class Simulation:
    """A context manager.

    Args:
        seed: decides everything.
        workers: of the instances' loop; by default the seed decides.
        door: how people reach the database, one of ``doors.DOORS``.

    Attributes:
        calm: nothing happens that loses a hint, and so nobody ever looks at everything: hints must be enough.
        standing: errors that verbs raise until further notice, by ``runtime.VERB`` or ``git.VERB``.
        repositories: those that were there at first.
        passing: which worker is in a pass of which instance.
        trace: what happened, the newest last.
        steps: how much happened.
        began: the first second on the simulated clock.
    """

    def __init__(self, seed: int, *, workers: int | None = None, door: str = "store") -> None:
        self.seed = seed
        self.random = Random(seed)  # noqa: S311  # to be repeated, not to be secret
        self.trace: list[str] = []
        self.steps = 0
        self.schedule = Schedule()
        self.began = self.schedule.now
        self._directory = Path(tempfile.mkdtemp(prefix="cco-simulation-", dir=_memory()))
        self.world = SimulatedWorld(self._directory, self.schedule, self.random)
        self._simulated = simulated(self.schedule, lambda: self.world.now)
        self.calm = self.random.random() < 0.15
        resync = 1e9 if self.calm else self.random.choice((30.0, 30.0, 300.0))
        self.world.settings = self.world.settings.model_copy(update={"resync_seconds": resync})
        self.workers = workers or self.random.randint(1, 3)
        self.turns = self.random.choice((2, 2, 64))
        self.standing: dict[str, CcoError] = {}
        self.ledger = Ledger(self.world)
        self.world.engine.interrupt = lambda verb, moment: self._side_effect("runtime", verb, moment)
        self.world.git.interrupt = lambda verb, moment: self._side_effect("git", verb, moment)
        self.repositories = dict(self.world.git.repositories)
        self.passing: dict[str, str] = {}
        self._processes = 0
        self._git_changes = 0
        self.process: Process | None = None
        self.door: Door = DOORS[door](self.world)

    def __enter__(self) -> Self:
        self._simulated.__enter__()
        self.door.__enter__()
        self.world.register()
        self.start_controller()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not isinstance(error, Stuck):
                self.kill_controller()
        finally:
            self.door.__exit__(None, None, None)
            self._simulated.__exit__(kind, error, trace)
            self.world.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    # The controller -------------------------------------------------------------------------------------------

    def start_controller(self) -> None:
        """Start a controller, if none runs."""
        if self.process is None:
            self._processes += 1
            self.process = Process(
                f"controller-{self._processes}",
                self.world,
                self.random,
                workers=self.workers,
                turns=self.turns,
                watch=self._pass,
            )
            self.process.start()

    def kill_controller(self) -> None:
        """Let the controller be gone from one moment to the next."""
        if self.process is not None:
            self.process.kill()
            self.process = None
            self._check()

    def stop_controller(self) -> None:
        """Let the controller end properly."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.stop()
        for _ in range(CONVERGENCE_STEPS):
            if not any(thread.process == process.name for thread in self.schedule.threads):
                self.world.boxes.view = None
                return
            self.step()
        self.fail("the controller does not stop")

    @contextmanager
    def _pass(self, name: str) -> Iterator[None]:
        """Write a pass down; a name is never in two of them."""
        thread = self.schedule.current
        assert thread is not None
        others = [worker for worker, busy in self.passing.items() if busy == name]
        if others:
            self.ledger.violations.append(f"two passes of {name} at once: {thread.name} and {others}")
        self.passing[thread.name] = name
        self.ledger.begins_pass(name)
        try:
            yield
        finally:
            del self.passing[thread.name]

    def _side_effect(self, part: str, verb: str, moment: str) -> None:
        """Before each call of the outside world something else may happen, and the call may fail."""
        thread = self.schedule.current
        if thread is None or moment != "before":
            return
        self.schedule.pause(f"{part}.{verb}")
        if part == "runtime" and verb in STARTING_VERBS:
            self.ledger.begins_attempt(self.passing.get(thread.name, thread.name))
        if (error := self.standing.get(f"{part}.{verb}")) is not None:
            raise error

    # Time and chance ------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let the next thing happen."""
        runnable = self.schedule.runnable()
        due = self.schedule.due()
        if not runnable and due is None:
            self.pass_time(self._until_next())
            return
        chosen = self.random.randrange(len(runnable) + (due is not None))
        self.steps += 1
        if chosen == len(runnable):
            self.tell(due or "")
            self.schedule.do_due()
        else:
            thread = runnable[chosen]
            before = thread.where
            self.schedule.step(thread)
            self.tell(f"{thread.name}: {before}")
        self._check()

    def _until_next(self) -> float:
        deadline = self.schedule.next_deadline()
        return 1.0 if deadline is None else max(deadline - self.schedule.now, 0.0)

    def pass_time(self, seconds: float) -> None:
        """Let all clocks go on."""
        self.schedule.advance_to(self.schedule.now + seconds)
        self.world.tick(seconds)

    def run(self, steps: int) -> None:
        """Let that many things happen."""
        for _ in range(steps):
            self.step()

    def run_for(self, seconds: float) -> None:
        """Let everything happen that does within that time."""
        end = self.schedule.now + seconds
        for _ in range(BUSY_STEPS + int(BUSY_STEPS * seconds / 60)):
            if self.idle():
                until = self._until_next()
                if self.schedule.now + until >= end:
                    self.pass_time(max(end - self.schedule.now, 0.0))
                    return
            self.step()
        self.fail(f"still busy after {seconds} s")

    def idle(self) -> bool:
        """Tell whether nothing happens until time passes."""
        return self.schedule.due() is None and not self.schedule.runnable()

    # The end --------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Let the world stop failing; what people declared and what they did stays."""
        engine, git = self.world.engine, self.world.git
        engine.come_back()
        engine.behave()
        engine.drop_events = False
        git.failures.clear()
        self.standing.clear()
        self.world.stepped.failures.clear()
        self.world.stepped.log_is_gone = False
        self.world.credentials = True
        self.world.disk_full = None
        self.world.disk.clear()
        self.world.git.repositories.update(self.repositories)
        for uid, agent in self.world.boxes.agents.agents.items():
            self.world.boxes.unmute(uid)
            if agent.state in {"working", "waiting"}:
                self.world.boxes.finish_turn(uid)
        self.start_controller()
        self.tell("the world stops failing")

    def converge(self) -> None:
        """Go on until everything is as declared, or not for a true reason; then nothing more may be written."""
        end = self.schedule.now + CONVERGENCE_SECONDS
        first_step = self.steps
        self.run_for(1.0)  # a status of before may agree with the world by accident
        while found := self.problems():
            if self.schedule.now > end:
                self.fail("no convergence: " + "; ".join(found))
            if self.steps - first_step > CONVERGENCE_STEPS:
                self.fail("livelock: " + "; ".join(found))
            self.run_for(self.random.choice((1.0, 10.0, 60.0)))
        self.ledger.check_work()
        self._check()
        self._rest()

    def check_promptness(self) -> None:
        """What people declare is looked at when the controller has nothing else to do, and not at the next resync."""
        if self.process is None:
            return
        self.world.stepped.failures.clear()
        refused = self.schedule.now - self.world.stepped.failed_at < BACKOFF_LIMIT
        self.run_for(BACKOFF_LIMIT if refused else 3.0)  # that it was looked at may be what could not be written
        if found := unseen(self.world):
            self.fail("; ".join(found))

    def problems(self) -> list[str]:
        """Return what is not as it should be at last."""
        return problems(self.world, self.ledger)

    def _rest(self) -> None:
        """Look at everything once more: nothing is written, and nothing is done over and over."""
        assert self.process is not None
        world = self.world
        self.run_for(30.0)  # what was on its way has arrived
        for last in (False, True):  # the first look may find that ten healthy minutes are over, which is written once
            before, calls = self._written(), len(world.stepped.calls)
            self.process.resync()
            self.run_for(1.0)
            after = self._written()
            if after[:2] != before[:2] or (last and after != before):
                self.fail(f"a look at everything wrote: {before} -> {after}; {world.stepped.calls[calls:]}")
        self.ledger.forget_pace()
        self.run_for(90.0)
        self.ledger.check_pace(passes=8, attempts=4)
        self._check()
        if found := self.problems():
            self.fail("it did not stay so: " + "; ".join(found))

    def _written(self) -> tuple[int, int, int]:
        """Return how much was ever changed in the engine, in git, and in the store."""
        return len(self.world.engine.changes), len(self.world.git.changes), self.world.store.revision()

    def stand(self, verb: str) -> None:
        """Let one verb fail for minutes while nobody does anything: tries must become rare."""
        self.tell(f"* from now on {verb} fails")
        self.standing[verb] = unavailable()
        self.run_for(60.0)
        self.ledger.forget_pace()
        self.run_for(60.0)
        self.ledger.check_pace(passes=PASSES_PER_MINUTE, attempts=ATTEMPTS_PER_MINUTE)
        self._check()
        del self.standing[verb]

    # Telling --------------------------------------------------------------------------------------------------

    def tell(self, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.schedule.now - self.began:9.3f} {what}")
        if len(self.trace) > 2 * _LONGEST_TRACE:
            del self.trace[:_LONGEST_TRACE]

    def _check(self) -> None:
        if len(self.world.git.changes) != self._git_changes:
            self._git_changes = len(self.world.git.changes)
            self.ledger.check_work()
        if self.ledger.violations:
            self.fail("; ".join(self.ledger.violations))

    def fail(self, message: str) -> None:
        """Raise a violation with everything needed to see it again."""
        lines = "\n".join(self.trace[-200:])
        how = f"PYTHONPATH=tests:. python -m simulation --seed {self.seed}"
        raise Violation(f"{message}\nseed {self.seed}; replay: {how}\n{lines}")


def _memory() -> str | None:
    """Return a folder in memory, where there is one: the database's writes are most of the work."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # a private folder is made in it
