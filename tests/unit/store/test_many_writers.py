from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.errors import CcoError, StaleWrite
from controller.resources import InstanceManifest, InstanceStatus
from controller.store import Store

New = Callable[..., InstanceManifest]

WRITER = """
import sys
from pathlib import Path
from controller.resources import InstanceManifest
from controller.store import Store
store = Store.open(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    name = f"{sys.argv[2]}-{number}"
    store.instances.create(
        InstanceManifest.model_validate({"metadata": {"name": name}, "spec": {"repository": "r", "prompt": name * 50}})
    )
    print(name, flush=True)
"""


def start_writer(path: Path, prefix: str, count: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", WRITER, str(path), prefix, str(count)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def test_processes_that_open_and_write_at_once_lose_nothing(path: Path) -> None:
    writers = [start_writer(path, f"p{number}", 40) for number in range(4)]
    acknowledged = [name for writer in writers for name in writer.communicate(timeout=60)[0].split()]
    assert [writer.returncode for writer in writers] == [0] * 4
    with Store.open(path) as store:
        assert store.instances.names() == sorted(acknowledged)
        assert store.revision() == len(acknowledged) == 160
        versions = sorted(i.metadata.resource_version for i in store.instances.list())
        assert versions == list(range(1, 161))


@pytest.mark.parametrize("acknowledged", [1, 7, 60])
def test_what_was_acknowledged_survives_kill_9(path: Path, acknowledged: int) -> None:
    names = []
    for attempt in range(2):
        with start_writer(path, f"a{attempt}", 100_000) as writer:
            assert writer.stdout is not None
            names += [writer.stdout.readline().strip() for _ in range(acknowledged)]
            os.kill(writer.pid, signal.SIGKILL)
            names += writer.stdout.read().split()
    with Store.open(path) as store:
        found = store.instances.names()
        assert set(names) <= set(found)
        assert len(found) <= len(names) + 2, "at most the write under way when it was killed, each time"
        assert all(instance.spec.prompt == instance.metadata.name * 50 for instance in store.instances.list())
        assert len(store.changes(0)) == store.revision() == len(found)


def run(count: int, work: Callable[[int], object]) -> list[BaseException]:
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except CcoError as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def test_many_threads_make_one_object(store: Store, new_instance: New) -> None:
    errors = run(20, lambda _: store.instances.create(new_instance()))
    assert [type(error).__name__ for error in errors] == ["AlreadyExists"] * 19
    assert store.revision() == 1


def test_a_version_is_won_by_one(store: Store, new_instance: New) -> None:
    read = store.instances.create(new_instance())
    version = read.metadata.resource_version

    def change(number: int) -> None:
        spec = read.spec.model_copy(update={"prompt": str(number)})
        store.instances.update_spec("web", spec, resource_version=version)

    errors = run(20, change)
    assert len(errors) == 19
    assert all(isinstance(error, StaleWrite) for error in errors)
    assert store.instances.get("web").metadata.generation == 2


def test_spec_and_status_are_written_side_by_side(store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance())

    def write(number: int) -> None:
        for step in range(20):
            if number % 2:
                store.instances.update_status(made.metadata.uid, InstanceStatus(attempt=100 * number + step))
            else:
                store.instances.apply(new_instance(labels={"n": f"{number}-{step}"}))

    assert run(8, write) == []
    after = store.instances.get("web")
    assert after.metadata.generation == 1
    assert after.status.attempt % 100 == 19
    assert after.metadata.resource_version == store.revision() == 161
