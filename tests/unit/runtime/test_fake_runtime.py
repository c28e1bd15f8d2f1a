"""The fake keeps the contract of the real runtimes, and misbehaves exactly as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from contracts.runtime import RuntimeContract, World
from contracts.runtime_world import watching
from controller.errors import Retryable, Unavailable
from controller.runtime.protocol import ExecResult, Runtime, WorkloadSpec, WorkloadState
from support.fake_runtime import IMAGE, FakeEngine, FakeRuntime, FakeTerminal
from support.program_world import workload_spec


class FakeWorld:
    """The contract's world over a :class:`FakeEngine`."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.engine.programs = {
            "print": lambda argv: ExecResult(0, bytes.fromhex(argv[1])),
            "exit": lambda argv: ExecResult(int(argv[1]), b""),
        }
        self.runtime: Runtime = self.restarted()
        self.stranger: Runtime = FakeRuntime(self.engine, installation="stranger", prefix="other")

    def restarted(self) -> Runtime:
        return FakeRuntime(self.engine, installation="ours", prefix="cco")

    def spec(self, name: str = "web", *, stubborn: bool = False) -> WorkloadSpec:
        spec = workload_spec(name, IMAGE)
        if stubborn:
            self.engine.stubborn.add(spec.uid)
        return spec

    def occupy(self, spec: WorkloadSpec) -> Callable[[], object]:
        self.engine.occupy(f"cco-{spec.name}-{spec.attempt}")
        return lambda: dict(self.engine.foreign)

    def occupy_home(self, spec: WorkloadSpec) -> Callable[[], object]:
        self.engine.homes[f"cco-{spec.name}-{spec.uid[:8]}-home"] = "somebody else"
        return lambda: dict(self.engine.homes)

    def crash(self, uid: str, exit_code: int) -> None:
        self.engine.crash(uid, exit_code)

    def kill(self, uid: str) -> None:
        self.engine.crash(uid, 137)

    def kill_unseen(self, uid: str) -> None:
        self.engine.crash(uid, 137)

    def exhaust_memory(self, uid: str) -> None:
        self.engine.crash(uid, oom=True)

    def pause_by_hand(self, uid: str) -> None:
        self.engine.pause_by_hand(uid)

    def remove_by_hand(self, uid: str) -> None:
        self.engine.remove_by_hand(uid)

    def remove_network_by_hand(self) -> None:
        self.engine.networks.clear()

    def has_home(self, spec: WorkloadSpec) -> bool:
        return self.engine.homes.get(f"cco-{spec.name}-{spec.uid[:8]}-home") == spec.uid

    def make_source(self) -> str:
        return "/srv/source"

    def remove_source(self, path: str) -> None:
        self.engine.missing_sources.add(path)

    def cut_connections(self) -> None:
        self.engine.break_watches()

    def go_away(self) -> None:
        self.engine.go_away()

    def come_back(self) -> None:
        self.engine.come_back()

    def argv_printing(self, data: bytes) -> Sequence[str]:
        return ("print", data.hex())

    def argv_exiting(self, code: int) -> Sequence[str]:
        return ("exit", str(code))

    def argv_echoing(self) -> Sequence[str]:
        return ("echo",)

    def argv_measuring(self) -> Sequence[str]:
        return ("measure",)


class TestFakeRuntime(RuntimeContract):
    @pytest.fixture
    def world(self) -> World:
        return FakeWorld()


@pytest.fixture
def fake() -> FakeWorld:
    return FakeWorld()


def test_a_failed_verb_did_nothing(fake: FakeWorld) -> None:
    fake.engine.fail_next("create")
    spec = fake.spec()
    with pytest.raises(Unavailable):
        fake.runtime.create(spec)
    assert fake.engine.changes == []
    fake.runtime.create(spec)
    assert len(fake.runtime.list()) == 1


def test_a_lost_answer_did_its_work(fake: FakeWorld) -> None:
    spec = fake.spec()
    fake.engine.lose_next_answer("create", Retryable("Gone", "lost"))
    with pytest.raises(Retryable, match="lost"):
        fake.runtime.create(spec)
    assert len(fake.runtime.list()) == 1


def test_a_dropped_event_is_not_told(fake: FakeWorld) -> None:
    dropped, told = fake.spec("dropped"), fake.spec("told")
    with watching(fake.runtime) as watcher:
        fake.engine.drop_events = True
        fake.runtime.create(dropped)
        fake.engine.drop_events = False
        fake.runtime.create(told)
        watcher.expect(told.uid, but_never=dropped.uid)


def test_a_hanging_verb_waits(fake: FakeWorld) -> None:
    spec = fake.spec()
    with fake.engine.hang("create"):
        thread = threading.Thread(target=fake.runtime.create, args=(spec,))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        assert fake.runtime.list() == ()
    thread.join(5)
    assert len(fake.runtime.list()) == 1


def test_a_crash_loop(fake: FakeWorld) -> None:
    spec = fake.spec()
    fake.engine.crash_on_start(spec.name, 5)
    fake.runtime.create(spec)
    fake.runtime.start(spec.uid, 1)
    (seen,) = fake.runtime.inspect(spec.uid)
    assert (seen.state, seen.exit_code) == (WorkloadState.EXITED, 5)
    fake.engine.crash_on_start(spec.name, None)
    fake.runtime.start(spec.uid, 1)
    assert fake.runtime.inspect(spec.uid)[0].state is WorkloadState.RUNNING


def test_a_lost_place(fake: FakeWorld) -> None:
    spec = fake.spec()
    fake.runtime.create(spec)
    fake.engine.lose(spec.uid)
    assert fake.runtime.inspect(spec.uid)[0].state is WorkloadState.LOST


def test_a_crash_of_the_controller_at_a_verb(fake: FakeWorld) -> None:
    spec = fake.spec()
    moments: list[tuple[str, str]] = []

    def interrupt(verb: str, moment: str) -> None:
        moments.append((verb, moment))
        if moments[-1] == ("start", "after"):
            raise KeyboardInterrupt

    fake.engine.interrupt = interrupt
    fake.runtime.create(spec)
    with pytest.raises(KeyboardInterrupt):
        fake.runtime.start(spec.uid, 1)
    assert moments == [("create", "before"), ("create", "after"), ("start", "before"), ("start", "after")]
    fake.engine.interrupt = None
    assert fake.restarted().inspect(spec.uid)[0].state is WorkloadState.RUNNING


def test_repeating_verbs_changes_nothing(fake: FakeWorld) -> None:
    spec = fake.spec()
    for _ in range(2):
        fake.runtime.prepare()
        fake.runtime.create(spec)
        fake.runtime.start(spec.uid, 1)
        fake.runtime.update(spec.uid, spec.limits)
    assert fake.engine.changes == ["network cco", "create web", "start web"]


def test_the_terminal_keeps_its_size(fake: FakeWorld) -> None:
    spec = fake.spec()
    fake.runtime.create(spec)
    fake.runtime.start(spec.uid, 1)
    with fake.runtime.attach(spec.uid, ["sh"], columns=80, rows=24) as terminal:
        assert isinstance(terminal, FakeTerminal)
        terminal.resize(100, 30)
        assert terminal.size == (100, 30)
