"""All checks of the controller, put together, and the one repair it can make. Asked through ``streams/checks.py``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from controller.agents.protocol import Heard
from controller.errors import CcoError, Terminal
from controller.reconcile.observed import Pace
from controller.release import program_version
from controller.resources import Instance
from controller.resources.check import Check, CheckStatus, Diagnosis, Repair, Repairs
from controller.resources.orphan import OrphanList
from controller.runtime.choice import Runtimes
from controller.runtime.facts import EngineFacts, EngineView
from controller.settings import Settings
from controller.store import Store
from controller.workspace.types import Workspaces

from . import capacity, fleet
from .clock import ClockWatch
from .database import damaged, examine_database, examine_size
from .disk import examine_disk
from .engine import EngineChecks, examine_ping, examine_process
from .examination import Examiner, Finding, Look, Shared, failed, well

logger = logging.getLogger(__name__)

ENGINE_RUNTIME = "docker"
PROCESS_RUNTIME = "process"
PING_SECONDS = 1.5
REMEMBERED_SECONDS = 2.0
_PEEK_SECONDS = 1.0
_EVENTS = 5000


@dataclass
class Doctor:
    """Looks at everything only the controller can see; safe to ask from many threads.

    Attributes:
        engine: gives the view on the Docker engine; called only where an instance needs one.
        programs: finds what runtime ``process`` needs on this machine; raises a Terminal for what is missing.
        credentials: reads what there is to log in with; only the names are told.
        heard: returns the newest report of every agent by uid.
        orphans: looks for what is ours and belongs to nobody.
    """

    settings: Settings
    store: Store
    runtimes: Runtimes
    workspaces: Workspaces
    engine: Callable[[], EngineView]
    programs: Callable[[], object]
    credentials: Callable[[], Mapping[str, str]]
    heard: Callable[[], Mapping[str, Heard]]
    orphans: Callable[[], OrphanList]
    examiner: Examiner = field(default_factory=Examiner)
    clock: ClockWatch = field(default_factory=ClockWatch)
    _pinger: Examiner = field(default_factory=lambda: Examiner(PING_SECONDS))
    _newest: tuple[float, Diagnosis] | None = None
    _pinged: tuple[float, Check] | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _ping_turn: threading.Lock = field(default_factory=threading.Lock)

    def examine(self) -> Diagnosis:
        """Look at everything; one caller at a time, so that many callers do not make many looks hang."""
        asked = time.monotonic()
        with self._turn:
            if self._newest is not None and self._newest[0] >= asked:  # somebody else's, begun while we waited
                return self._newest[1]
            began = time.monotonic()
            checks = self.examiner.examine(self._looks())
            diagnosis = Diagnosis(version=program_version(), at=datetime.now(UTC), checks=checks)
            self._newest = (began, diagnosis)
            return diagnosis

    def ping_engine(self) -> Check | None:
        """Tell whether the engine answers, at most two seconds ago; ``None`` where no engine is needed."""
        with self._ping_turn:
            if self._pinged is not None and time.monotonic() - self._pinged[0] < REMEMBERED_SECONDS:
                return self._pinged[1]
            try:
                # Listing is dear where there are many, and mostly needless.
                if self.runtimes.default != ENGINE_RUNTIME and not self._needs(
                    ENGINE_RUNTIME, self.store.instances.list()
                ):
                    return None
            except CcoError:
                return None
            (check,) = self._pinger.examine([("engine", lambda: examine_ping(self.engine()))])
            self._pinged = (time.monotonic(), check)
            return check

    def repair(self) -> Repairs:
        """Make what is missing and can be made without touching anything: the network of instances.

        Raises:
            CcoError: what the runtime says.
        """
        found = {check.name: check for check in self.examine().checks}
        network = found.get("network")
        if network is None or network.status is CheckStatus.OK or network.fixable_by is None:
            return Repairs()
        try:
            self.runtimes.named(ENGINE_RUNTIME).prepare()
        except CcoError as error:
            return Repairs(repairs=(Repair(check="network", done=False, message=error.message),))
        message = f"network {self.settings.network}: made"
        logger.info("repaired", extra={"cco_check": "network"})
        return Repairs(repairs=(Repair(check="network", done=True, message=message),))

    def _looks(self) -> Iterator[tuple[str, Look]]:
        settings = self.settings
        yield "clock", self.clock.examine
        yield "database", self._database
        yield "database-size", lambda: examine_size(settings.database)
        yield "credentials", lambda: fleet.examine_credentials(self.credentials)
        rows: Shared[list[Instance]] = Shared(lambda: list(self.store.instances.list()))
        facts: Shared[EngineFacts] = Shared(self._ask_engine)
        yield from self._fleet_looks(rows)
        yield "memory", lambda: capacity.examine_memory(self._machine(facts, rows), rows.get())
        yield "cpus", lambda: capacity.examine_cpus(self._machine(facts, rows), rows.get())
        yield "disk", lambda: examine_disk(self._places(facts, rows), settings.disk_full_percent / 100)
        instances = rows.peek(_PEEK_SECONDS) or []
        if self._needs(ENGINE_RUNTIME, instances):
            yield from self._engine_checks(facts, instances).looks()
        if self._needs(PROCESS_RUNTIME, instances):
            yield "process", lambda: examine_process(self.programs)

    def _ask_engine(self) -> EngineFacts:
        return self.engine().facts()

    def _engine_checks(self, facts: Shared[EngineFacts], instances: Sequence[Instance] = ()) -> EngineChecks:
        images = {each.spec.image for each in instances if each.spec.image is not None}
        wanted = (self.settings.instance_image, *sorted(images - {self.settings.instance_image}))
        return EngineChecks(self.engine(), facts, self.runtimes.named(ENGINE_RUNTIME), wanted)

    def _fleet_looks(self, rows: Shared[list[Instance]]) -> Iterator[tuple[str, Look]]:
        silent_after = Pace(self.settings.heartbeat_seconds).silent_after
        yield (
            "repositories",
            lambda: fleet.examine_repositories(self.store.repositories.list(), self.workspaces.inspect_repository),
        )
        yield "instances", lambda: fleet.examine_instances(rows.get())
        yield "agents", lambda: fleet.examine_agents(rows.get(), self.heard(), silent_after)
        yield "orphans", lambda: fleet.examine_orphans(self._orphans_that_matter(rows.get()))
        yield "events", lambda: fleet.examine_events(self.store.events.list(limit=_EVENTS), datetime.now(UTC))

    def _orphans_that_matter(self, instances: Sequence[Instance]) -> OrphanList:
        """Return the orphans; that an engine nobody needs could not be looked at is no news."""
        found = self.orphans()
        needless = {f"runtime {name}" for name in self.runtimes.names if not self._needs(name, instances)}
        return found.model_copy(update={"skipped": tuple(each for each in found.skipped if each.part not in needless)})

    def _database(self) -> Finding:
        path = self.settings.database
        # The store's connections have pages in memory; a new one sees what is on the disk.
        on_disk = examine_database(path)
        if on_disk is not None and on_disk.status is CheckStatus.FAIL:
            return on_disk
        try:
            found = self.store.integrity()
        except Terminal as error:
            return failed(error.message)
        if found.problems:
            return damaged(path, "; ".join(found.problems))
        return well(f"{path} is sound, schema {found.schema}")

    def _needs(self, runtime: str, instances: Sequence[Instance]) -> bool:
        return runtime in {self.runtimes.default, *(self.runtimes.name_of(each) for each in instances)}

    def _machine(self, facts: Shared[EngineFacts], rows: Shared[list[Instance]]) -> capacity.Machine:
        """Return the machine the instances run on: the engine's, which may be another one than ours."""
        here = capacity.Machine.here()
        told = facts.peek(_PEEK_SECONDS) if self._needs(ENGINE_RUNTIME, rows.get()) else None
        return capacity.Machine(told.cpus or here.cpus, told.memory or here.memory) if told else here

    def _places(self, facts: Shared[EngineFacts], rows: Shared[list[Instance]]) -> list[tuple[str, Path]]:
        places = [("state directory", self.settings.state_dir)]
        if self.settings.worktree_base_path is not None:
            places.append(("worktrees", self.settings.worktree_base_path))
        instances = rows.peek(_PEEK_SECONDS) or []
        workspaces = (each.status.workspace for each in instances)
        places.extend(("worktrees", Path(each.path)) for each in workspaces if each is not None)
        told = facts.peek(_PEEK_SECONDS) if self._needs(ENGINE_RUNTIME, instances) else None
        if told is not None and told.root and Path(told.root).is_dir():
            places.append(("engine", Path(told.root)))
        return places
