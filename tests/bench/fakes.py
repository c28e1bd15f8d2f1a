"""The fake world without what makes it slow in thousands: its engine finds containers by uid, its agents report once.

What is measured on it is the product's own work; a fake that searched through all its containers for each pass would
be measured instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from controller import application
from controller.agents import AgentConfig, Heard, Report
from controller.runtime.protocol import WorkloadSpec, WorkloadState
from support.fake_engine import FakeContainer, FakeEngine
from support.world import World

_SINCE = datetime.now(UTC).isoformat()


class QuickEngine(FakeEngine):
    """Finds containers by uid at once; for fleets from which nothing is removed."""

    def __init__(self, *, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(now=now)
        self._by_uid: dict[str, list[FakeContainer]] = {}

    def make(self, installation: str, name: str, spec: WorkloadSpec, *, home: str = "", network: str = "") -> None:
        super().make(installation, name, spec, home=home, network=network)
        self._by_uid.setdefault(spec.uid, []).append(self.containers[name])

    def of_uid(self, uid: str) -> list[FakeContainer]:
        return list(self._by_uid.get(uid, ()))


class QuickAgents:
    """Agents that are up with their container and say the same for ever."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._configs: dict[str, AgentConfig] = {}
        self._reports: dict[str, tuple[object, Heard]] = {}

    @classmethod
    def take_the_place_of_all(cls, engine: FakeEngine) -> None:
        """Let every controller of this process have these instead of links to agents in containers."""

        def links(
            directory: Callable[[str], Path],
            credentials: Callable[[], Mapping[str, str]],
            on_change: Callable[[str], None],
            fence: Callable[[], None],
        ) -> QuickAgents:
            del directory, credentials, on_change, fence
            return cls(engine)

        application.AgentLinks = links  # type: ignore[attr-defined,assignment]  # as the docstring says

    def open(self, name: str, uid: str) -> None:
        del name, uid

    def close(self) -> None:
        pass

    def forget(self, uid: str) -> None:
        self._reports.pop(uid, None)

    def configure(self, config: AgentConfig) -> None:
        self._configs[config.uid] = config

    def heard(self, uid: str) -> Heard | None:
        alive = next((each for each in self._engine.of_uid(uid) if each.seen.state is WorkloadState.RUNNING), None)
        if alive is None or uid not in self._configs:
            return None
        known = self._reports.get(uid)
        if known is None or known[0] != alive.seen.started_at:
            known = alive.seen.started_at, Heard(self._report(uid, alive), 0.0, connected=True, handed_over=frozenset())
            self._reports[uid] = known
        return known[1]

    def all_heard(self) -> dict[str, Heard]:
        return {uid: heard for uid in list(self._configs) if (heard := self.heard(uid)) is not None}

    def listening_for(self, uid: str) -> float:
        del uid
        return 1.0

    def send_input(self, uid: str, input_id: str, text: str) -> bool:
        del uid, input_id, text
        return False

    def _report(self, uid: str, container: FakeContainer) -> Report:
        told: Mapping[str, object] = {
            "type": "report",
            "schema": 1,
            "uid": uid,
            "attempt": container.seen.attempt,
            "boot": "bench",
            "seq": 1,
            "sent_at": self._engine.now().isoformat(),
            "config_hash": self._configs[uid].config_hash,
            "session": {"state": "idle", "since": _SINCE, "session_id": uid},
            "tmux": {"session": f"cc-orchestrator-{container.spec.name}", "clients": 0},
            "usage": {"cpu_percent": 1.5, "memory_bytes": 2**28, "pids": 9, "oom_kills": 0},
            "refs_version": "refs-0",
            "inputs": [],
            "credentials": "present",
        }
        return Report.model_validate(told)


class QuickWorld(World):
    """The world of the unit tests with the quick engine and agents."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.engine = QuickEngine(now=self._instant)
        self.agents = QuickAgents(self.engine)  # type: ignore[assignment]  # as much of the fake as the reconciler uses
