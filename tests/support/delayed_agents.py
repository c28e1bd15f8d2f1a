"""Agents that need time: to come up, to report, to be heard again by a new controller.

:class:`Boxes` is what runs in the containers and outlives controllers; :class:`DelayedAgents` is one controller
process' view of it, made anew with every process, as ``controller.agents.AgentLinks`` is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from controller.agents import AgentConfig, Heard, Report
from controller.runtime.protocol import WorkloadState

from .fake_agents import FakeAgents
from .fake_engine import ALIVE, FakeContainer, FakeEngine
from .simulated_threads import Schedule

Run = tuple[str, datetime | None]
"""Which run of which container."""


def run_of(container: FakeContainer) -> Run:
    return container.seen.id, container.seen.started_at


@dataclass
class Reception:
    """What a controller process has of one agent; of one run only a later one replaces it."""

    report: Report
    at: float
    run: Run
    name: str
    order: int


class Boxes:
    """The agents in their containers.

    Attributes:
        view: the living controller process' view; ``None`` while there is none.
        booted: the run each agent came up in, by uid.
        silent_since: monotonic second since which a muted agent has said nothing, by uid.
        typed: ids of the prompts that reached Claude, in order.
    """

    def __init__(self, agents: FakeAgents, schedule: Schedule, random: Random, *, heartbeat: float) -> None:
        self.agents = agents
        self.schedule = schedule
        self.random = random
        self.heartbeat = heartbeat
        self.view: DelayedAgents | None = None
        self.booted: dict[str, Run] = {}
        self.silent_since: dict[str, float] = {}
        self.typed: list[str] = []
        self._spoke_again: dict[str, float] = {}
        self.credentials: Callable[[], bool] = lambda: True
        self._sent = 0
        self._seen: dict[str, Run] = {}
        agents.engine.observers.append(self._observe)

    def _observe(self, container: FakeContainer) -> None:
        """An agent comes up with its container and goes with it; its connection tells the controller."""
        uid = container.spec.uid
        exists = self.agents.engine.containers.get(container.seen.name) is container
        if exists and container.seen.state is WorkloadState.RUNNING:
            if self._seen.get(uid) != run_of(container):
                self._seen[uid] = run_of(container)
                self.schedule.later(
                    self.random.uniform(0.1, 3.0),
                    f"agent of {container.spec.name} boots",
                    lambda: self._boot(container),
                )
            elif self.booted.get(uid) == run_of(container):  # it was paused
                self._catch_up(uid)
        elif self.booted.get(uid) == run_of(container) and not (exists and container.seen.state in ALIVE):
            del self.booted[uid]
            self._hint(container)

    def _hint(self, container: FakeContainer) -> None:
        view = self.view
        if view is not None and container.spec.uid in view.opened:
            view.on_change(container.spec.name)

    def running(self, uid: str) -> FakeContainer | None:
        """Return the container whose agent is up."""
        for container in self.agents.engine.of_uid(uid):
            if container.seen.state is WorkloadState.RUNNING and self.booted.get(uid) == run_of(container):
                return container
        return None

    def _boot(self, container: FakeContainer) -> None:
        uid = container.spec.uid
        if container.seen.state is not WorkloadState.RUNNING or self._seen.get(uid) != run_of(container):
            return
        agent = self.agents.of(uid)
        self.booted[uid] = run_of(container)
        agent.boot = f"{container.seen.id[-4:]}-{container.seen.started_at}"
        agent.started_with = self.agents.configs[uid].config_hash if uid in self.agents.configs else ""
        agent.handed_over.clear()
        agent.state = "starting"
        self.report(uid)
        self._session_comes_up(uid, run_of(container))

    def _session_comes_up(self, uid: str, run: Run) -> None:
        def try_it() -> None:
            if self.booted.get(uid) != run or self.agents.of(uid).state != "starting":
                return
            if not self.credentials():
                self._session_comes_up(uid, run)
                return
            self.agents.of(uid).state = "idle"
            self._catch_up(uid)

        self.schedule.later(self.random.uniform(0.5, 5.0), "a session comes up", try_it)

    def session(self, uid: str, state: str) -> None:
        """Let Claude do something, if it is up."""
        agent = self.agents.of(uid)
        if self.running(uid) is not None and agent.state not in {"starting", state}:
            agent.state = state
            agent.waiting_for = "permission prompt" if state == "waiting" else None
            self._catch_up(uid)

    def finish_turn(self, uid: str) -> None:
        """Let Claude be done with what it does, also in a frozen container."""
        agent = self.agents.of(uid)
        agent.state, agent.waiting_for = "idle", None
        self._catch_up(uid)

    def mute(self, uid: str) -> None:
        """Let the agent say nothing more, as when its container is frozen."""
        self.agents.of(uid).muted = True
        self.silent_since.setdefault(uid, self.schedule.now)

    def unmute(self, uid: str) -> None:
        """Let it speak again."""
        self.agents.of(uid).muted = False
        if self.silent_since.pop(uid, None) is not None:
            self._spoke_again[uid] = self.schedule.now
            self._catch_up(uid)

    def was_silent(self, uid: str) -> bool:
        """Tell whether the agent says nothing, has only just begun to speak again, or is not up yet."""
        lately = self.schedule.now - self._spoke_again.get(uid, -1e9) < 60.0
        return lately or uid in self.silent_since or uid not in self.booted or self.agents.of(uid).state == "starting"

    def _catch_up(self, uid: str) -> None:
        """Report, and type what was handed over and could not be typed before."""
        self.report(uid)
        for input_id in self.agents.of(uid).handed_over:
            self.take_input(uid, input_id)

    def report(self, uid: str) -> None:
        """Send the current state; it arrives within a heartbeat, maybe when it is no longer true."""
        container, agent = self.running(uid), self.agents.of(uid)
        if container is None or agent.muted:
            return
        self._sent += 1
        run, order, name = run_of(container), self._sent, container.spec.name
        report = self.agents.report(uid, container, agent)

        def arrive() -> None:
            if self.view is not None:
                self.view.receive(uid, Reception(report, self.schedule.now, run, name, order))

        delay = self.random.uniform(0.001, self.random.choice((0.05, self.heartbeat)))
        self.schedule.later(delay, f"report of {name} arrives: {report.session.state}", arrive)

    def take_input(self, uid: str, input_id: str) -> None:
        """Type a prompt once Claude can take it; the same one never twice."""
        agent = self.agents.of(uid)

        def type_it() -> None:
            if input_id in agent.answers or agent.muted:
                return
            if self.running(uid) is not None and agent.state == "idle" and input_id in agent.handed_over:
                agent.answers[input_id] = "accepted"
                self.typed.append(input_id)
                self.report(uid)

        self.schedule.later(self.random.uniform(0.01, 1.0), "a prompt is typed", type_it)


class DelayedAgents(FakeAgents):
    """Implements ``controller.agents.Agents`` for one controller process."""

    def __init__(self, boxes: Boxes, engine: FakeEngine, now: Callable[[], datetime]) -> None:
        super().__init__(engine, now)
        self.boxes = boxes
        self.agents, self.configs = boxes.agents.agents, boxes.agents.configs
        self.on_change: Callable[[str], None] = lambda _name: None
        self._received: dict[str, Reception] = {}
        self._opened_at: dict[str, float] = {}
        self._schedule = boxes.schedule

    def receive(self, uid: str, reception: Reception) -> None:
        """Take in a report, whenever it was sent."""
        if uid not in self.opened:
            return
        before = self._received.get(uid)
        if before is not None and before.order > reception.order:
            return
        self._received[uid] = reception
        if before is None or before.report.significant() != reception.report.significant():
            self.on_change(reception.name)

    def open(self, name: str, uid: str) -> None:
        if uid in self.opened:
            return
        self._schedule.pause(f"links.open {name}")
        super().open(name, uid)
        self._opened_at[uid] = self._schedule.now
        self._schedule.later(
            self.boxes.random.uniform(0.01, 2.0), f"agent of {name} reconnects", lambda: self.boxes.report(uid)
        )

    def forget(self, uid: str) -> None:
        self._schedule.pause("links.forget")
        super().forget(uid)
        self._received.pop(uid, None)

    def configure(self, config: AgentConfig) -> None:
        self._schedule.pause(f"links.configure {config.name}")
        super().configure(config)

    def heard(self, uid: str) -> Heard | None:
        reception = self._received.get(uid)
        if reception is None or uid not in self.opened:
            return None
        container, now = self.boxes.running(uid), self._schedule.now
        connected = container is not None and run_of(container) == reception.run
        silent_since = self.boxes.silent_since.get(uid)
        if connected and silent_since is None:
            age = (now - reception.at) % self.boxes.heartbeat
            report = reception.report.model_copy(update={"sent_at": self._now() - timedelta(seconds=age)})
        else:
            age = now - max(reception.at, silent_since or 0.0)
            report = reception.report
        return Heard(report, age, connected, frozenset(self.agents[uid].handed_over if uid in self.agents else ()))

    def listening_for(self, uid: str) -> float:
        opened_at = self._opened_at.get(uid)
        return 0.0 if opened_at is None or uid not in self.opened else self._schedule.now - opened_at

    def send_input(self, uid: str, input_id: str, text: str) -> bool:
        del text
        self._schedule.pause("links.send_input")
        container, reception = self.boxes.running(uid), self._received.get(uid)
        if container is None or reception is None or reception.run != run_of(container):
            return False
        self.of(uid).handed_over.append(input_id)
        self.boxes.take_input(uid, input_id)
        return True
