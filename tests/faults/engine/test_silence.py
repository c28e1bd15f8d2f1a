"""The engine is there and says nothing, or says what nobody hears (scenarios 7 and 8 of docs/faults.md)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.engine_world import EngineWorld, engine_world
from faults.recorders import cpu_share
from support.engine_proxy import EngineProxy
from support.own_engine import OwnEngine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

LOOK_SECONDS = 8
"""Of every look at the engine."""
HANG_SECONDS = 120.0 if os.environ.get("TEST_FAULTS") == "all" else 30.0
MOST_THREADS_MORE = 30
ASKERS = 60
SLOW_MILLISECONDS = 100.0
CLEAR_ANSWER_SECONDS = 15.0
RENAMES = 400
"""The engine remembers the last 256 events for those who come back."""


def p99(seconds: Sequence[float]) -> float:
    """Return the 99th percentile in milliseconds."""
    return sorted(seconds)[int(len(seconds) * 0.99)] * 1000


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@contextmanager
def watched(look: Callable[[], int]) -> Iterator[list[int]]:
    """Collect what the look returns, ten times a second."""
    found: list[int] = []
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.1):
            found.append(look())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def read_for(world: EngineWorld, seconds: float, names: Sequence[str]) -> list[float]:
    """Get one instance after the other, ten times a second; returns how long each answer took."""
    taken: list[float] = []
    end = time.monotonic() + seconds
    pause = threading.Event()
    with world.place.client() as client:
        while time.monotonic() < end:
            for name in names:
                began = time.monotonic()
                client.get_instance(name)
                taken.append(time.monotonic() - began)
            pause.wait(0.1)
    return taken


def ask_engine(world: EngineWorld, name: str) -> float:
    """Ask for what only the engine knows; returns how long it took to be told that nobody knows."""
    began = time.monotonic()
    with world.place.client() as client, pytest.raises(Exception, match=r"(?i)engine|controller|answer"):
        client.instance_logs(name)
    return time.monotonic() - began


def test_an_engine_that_hangs_holds_up_nobody_who_reads(
    world: EngineWorld, engine: OwnEngine, record_testsuite_property: Callable[[str, object], None]
) -> None:
    names = ("one", "two", "three")
    world.spawn(*names)
    world.until_ready(*names)
    world.commit("one", "kept")
    world.remember()
    lives = world.lives(*names)
    calm = p99(read_for(world, 3.0, names))
    before = threads_of(world.place.controller)
    engine.hang()
    hung = time.monotonic()
    with ThreadPoolExecutor(ASKERS) as pool, watched(lambda: threads_of(world.place.controller)) as threads:
        askers = [pool.submit(ask_engine, world, names[number % 3]) for number in range(ASKERS)]
        taken = read_for(world, HANG_SECONDS / 2, names)
        wait(askers)
        for name in names:
            world.until_unknown(name)
        for command in (["status"], ["why", "one"], ["logs", "one"], ["attach", "one", "--print"]):
            began = time.monotonic()
            done = world.system.run_cco(*command)
            seconds = time.monotonic() - began
            told = f"cco {' '.join(command)}: {done.returncode} after {seconds:.1f} s: {done.stdout}{done.stderr}"
            assert seconds < CLEAR_ANSWER_SECONDS, told
            assert "the Docker engine" in told, told
        taken += read_for(world, max(0.0, HANG_SECONDS - (time.monotonic() - hung)), names)
        waited = max(asker.result() for asker in askers)
    engine.go_on()
    back = time.monotonic()
    world.until_ready(*names)
    recovered = time.monotonic() - back
    assert world.lives(*names) == lives
    assert set(world.restarts(*names).values()) == {0}
    slow = p99(taken)
    told = f"p99 {slow:.0f} ms ({calm:.0f} before), threads {max(threads)} ({before}), back in {recovered:.1f} s"
    record_testsuite_property("engine hangs", told)
    assert slow <= max(SLOW_MILLISECONDS, 3 * calm), f"p99 {slow:.0f} ms; {calm:.0f} ms without a fault"
    assert max(threads) <= before + MOST_THREADS_MORE
    assert waited < 2 * LOOK_SECONDS
    world.verify()


@pytest.fixture
def proxy(engine: OwnEngine, tmp_path: Path) -> Iterator[EngineProxy]:
    """What the controller takes for the engine."""
    with EngineProxy(tmp_path / "docker.sock", str(engine.socket)) as made:
        yield made


def flood(engine: OwnEngine, container: str) -> None:
    """Make the engine forget what happened before."""
    for number in range(RENAMES // 2):
        engine.rename(container, f"{container}-{number}")
        engine.rename(f"{container}-{number}", container)


@pytest.mark.parametrize("how", ["refuse", "go_silent"])
def test_events_that_nobody_heard_are_not_missed(engine: OwnEngine, proxy: EngineProxy, how: str) -> None:
    """Cut off, with a reconnection after it; or so that the connection stands and what was said is lost."""
    with engine_world(engine, settings={"DOCKER_HOST": proxy.url}) as world:
        world.spawn("one", "two", "three")
        world.until_ready("one", "two", "three")
        world.remember()
        getattr(proxy, how)()
        engine.docker("kill", world.container("one"))
        engine.docker("rm", "--force", world.container("two"))
        flood(engine, world.container("three"))
        assert cpu_share(world.place.controller, 2.0) < 0.05
        proxy.serve()
        world.until(lambda: world.restarts("one", "two") == {"one": 1, "two": 1}, "both are noticed", timeout=60)
        world.until_ready("one", "two", "three")
        assert world.restarts("three") == {"three": 0}
        world.verify()
