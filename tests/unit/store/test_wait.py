from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.resources import EventType, InstanceManifest, Kind
from controller.store import RevisionGone, Store

New = Callable[..., InstanceManifest]

WRITER = """
import sys, time
from pathlib import Path
from controller.resources import InstanceManifest
from controller.store import Store
with Store.open(Path(sys.argv[1])) as store:
    for line in sys.stdin:
        manifest = InstanceManifest.model_validate({"metadata": {"name": line.strip()}, "spec": {"repository": "r"}})
        store.instances.create(manifest)
        print(time.time(), flush=True)
"""


def test_a_wait_ends_at_its_timeout(store: Store) -> None:
    started = time.monotonic()
    assert store.wait(store.revision(), 0.1) == 0
    assert 0.08 < time.monotonic() - started < 2


def test_a_wait_for_the_past_ends_at_once(store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())
    started = time.monotonic()
    assert store.wait(0, 30.0) == 1
    assert store.wait(99, 30.0) == 1, "a database behind its reader is told at once"
    assert time.monotonic() - started < 2
    with pytest.raises(RevisionGone):
        store.changes(99)


def test_events_wake_only_those_who_asked_for_them(store: Store) -> None:
    store.events.record(Kind.INSTANCE, "web", "u", EventType.NORMAL, "A", "m")
    assert store.wait(0, 0.05) == 0
    assert store.wait(0, 30.0, events=True) == 1
    assert store.wait(1, 0.01) == 1, "nothing beyond what is known, although no object is that new"


def test_every_waiting_thread_wakes(store: Store, new_instance: New) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(store.wait(0, 30.0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    store.instances.create(new_instance())
    for thread in threads:
        thread.join(10)
    assert found == [1] * 8


def test_close_releases_waiters(path: Path) -> None:
    store = Store.open(path)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(store.wait(0, 60.0)))
    thread.start()
    store.close()
    thread.join(10)
    assert not thread.is_alive()
    store.close()


def test_another_processes_write_is_seen_soon(path: Path, store: Store) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        delays = []
        for number in range(10):
            print(f"i{number}", file=writer.stdin, flush=True)
            assert store.wait(number, 30.0) == number + 1
            seen = time.time()
            delays.append(seen - float(writer.stdout.readline()))
        writer.stdin.close()
    assert writer.returncode == 0
    assert sorted(delays)[5] < 0.05, delays


def test_waiting_costs_next_to_nothing(store: Store) -> None:
    used = time.thread_time()
    store.wait(0, 1.0)
    assert time.thread_time() - used < 0.02
