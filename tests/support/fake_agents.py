"""The fake of the agents: one in every running container of a :class:`FakeEngine`, doing what a test tells it.

An agent comes up with its container, reads the configuration that was left for it and reports ``idle``. What a test
wants otherwise it says with :meth:`FakeAgents.session`, :meth:`mute` or :meth:`disconnect`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from controller.agents import AgentConfig, Heard, Report
from controller.runtime.protocol import WorkloadState

from .fake_engine import FakeContainer, FakeEngine


@dataclass
class FakeAgent:
    """What one agent does, across restarts of its container."""

    state: str = "idle"
    waiting_for: str | None = None
    muted: bool = False
    connected: bool = True
    frozen_at: datetime | None = None
    age: float = 0.0
    refs_version: str = "refs-0"
    boot: str = ""
    started_with: str = ""
    oom_kills: int = 0
    worktree_bytes: int | None = None
    since: tuple[str, str] = ("", "")
    handed_over: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)


class FakeAgents:
    """Implements ``controller.agents.Agents`` over the containers of a fake engine."""

    def __init__(self, engine: FakeEngine, now: Callable[[], datetime]) -> None:
        self.engine = engine
        self.agents: dict[str, FakeAgent] = {}
        self.configs: dict[str, AgentConfig] = {}
        self.opened: set[str] = set()
        self.forgotten: list[str] = []
        self.listening = 1e6
        self._now = now

    def of(self, uid: str) -> FakeAgent:
        return self.agents.setdefault(uid, FakeAgent())

    # controller.agents.Agents ---------------------------------------------------------------------------------

    def open(self, name: str, uid: str) -> None:
        del name
        self.opened.add(uid)

    def forget(self, uid: str) -> None:
        self.opened.discard(uid)
        self.agents.pop(uid, None)
        self.forgotten.append(uid)

    def configure(self, config: AgentConfig) -> None:
        self.configs[config.uid] = config

    def heard(self, uid: str) -> Heard | None:
        container = self._running(uid)
        agent = self.of(uid)
        if container is None or agent.muted or uid not in self.opened:
            return None
        boot = f"{container.seen.id[-4:]}-{container.seen.started_at}"
        if agent.boot != boot:  # it was started anew: it reads its configuration, and its connection is new
            agent.boot = boot
            agent.started_with = self.configs[uid].config_hash if uid in self.configs else ""
            agent.handed_over.clear()
        return Heard(self.report(uid, container, agent), agent.age, agent.connected, frozenset(agent.handed_over))

    def all_heard(self) -> dict[str, Heard]:
        return {uid: heard for uid in self.opened if (heard := self.heard(uid)) is not None}

    def listening_for(self, uid: str) -> float:
        del uid
        return self.listening

    def send_input(self, uid: str, input_id: str, text: str) -> bool:
        del text
        agent = self.of(uid)
        if self._running(uid) is None or not agent.connected:
            return False
        agent.handed_over.append(input_id)
        agent.answers.setdefault(input_id, "accepted")
        return True

    # ----------------------------------------------------------------------------------------------------------

    def _running(self, uid: str) -> FakeContainer | None:
        alive = (each for each in self.engine.of_uid(uid) if each.seen.state is WorkloadState.RUNNING)
        return next(alive, None)

    def report(self, uid: str, container: FakeContainer, agent: FakeAgent) -> Report:
        """Return what the agent would say now."""
        at = self._now().isoformat()
        if agent.since[0] != agent.state:
            agent.since = (agent.state, at)
        body: dict[str, Any] = {
            "type": "report",
            "schema": 1,
            "uid": uid,
            "attempt": container.seen.attempt,
            "boot": agent.boot,
            "seq": 1,
            "sent_at": (agent.frozen_at or self._now()).isoformat(),
            "config_hash": agent.started_with,
            "session": {
                "state": agent.state,
                "since": agent.since[1],
                "waiting_for": agent.waiting_for,
                "session_id": uid,
            },
            "tmux": {"session": f"cc-orchestrator-{container.spec.name}", "clients": 0},
            "usage": {
                "cpu_percent": 1.5,
                "memory_bytes": 2**28,
                "pids": 9,
                "oom_kills": agent.oom_kills,
                "worktree_bytes": agent.worktree_bytes,
            },
            "refs_version": agent.refs_version,
            "inputs": [{"id": key, "state": value, "at": at} for key, value in agent.answers.items()],
            "credentials": "present",
        }
        return Report.model_validate(body)
