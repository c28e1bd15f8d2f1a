"""A disk that is really full: a file system of three megabytes, in memory, mounted for the test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.controller_link import ControllerLink
from controller.errors import Retryable
from controller.manifests import Manifests
from controller.settings import Settings
from controller.store import Store
from support.api_world import BASE, TOKEN, instance_body, instance_manifest, repository_manifest
from support.in_process import InProcess


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)], check=True, timeout=30)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


@pytest.fixture
def settings(disk: Path) -> Settings:
    return Settings(state_dir=disk / "s", max_instances=0)


@pytest.fixture
def full(settings: Settings) -> Iterator[Store]:
    """A store with a repository and one instance on a disk without a byte left."""
    with Store.open(settings.database) as store:
        store.repositories.create(repository_manifest())
        store.instances.create(instance_manifest("first"))
        fill(settings.state_dir.parent / "filler")
        yield store


def fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def until_refused(write: Callable[[int], object]) -> tuple[list[int], Retryable]:
    """Write until the space that SQLite has reserved is used up; returns what was acknowledged."""
    written: list[int] = []
    for number in range(500):
        try:
            write(number)
        except Retryable as error:
            return written, error
        written.append(number)
    pytest.fail("the disk is not full")


def test_writes_are_refused_whole_and_reads_go_on(full: Store, settings: Settings) -> None:
    written, refused = until_refused(lambda n: full.instances.create(instance_manifest(f"i{n}", prompt="x" * 20_000)))
    assert refused.reason == "DiskFull"
    assert str(settings.database) in refused.message
    names = sorted(["first", *(f"i{number}" for number in written)])
    assert full.instances.names() == names
    revision = full.revision()
    for _ in range(3):
        with pytest.raises(Retryable, match="is full"):
            full.instances.create(instance_manifest("late", prompt="x" * 20_000))
    assert (full.instances.names(), full.revision()) == (names, revision)
    assert full.integrity().problems == ()
    with pytest.raises(Retryable, match="is full"):
        full.backup_to(settings.database.with_name("copy"))
    assert not list(settings.state_dir.glob("*copy*"))

    (settings.state_dir.parent / "filler").unlink()
    full.instances.create(instance_manifest("late", prompt="x" * 20_000))
    assert full.instances.names() == sorted([*names, "late"])
    assert full.revision() == revision + 1


def test_what_stands_beside_the_database_stays_as_it_was(full: Store, settings: Settings) -> None:
    manifests = Manifests(settings)
    first = full.instances.get("first")
    with pytest.raises(Retryable) as refused:
        manifests.remember(first)
    assert refused.value.reason == "DiskFull"
    assert list(manifests.instances()) == []
    (settings.state_dir.parent / "filler").unlink()
    manifests.remember(first)
    fill(settings.state_dir.parent / "filler")
    with pytest.raises(Retryable):
        manifests.remember(first.model_copy(update={"spec": first.spec.model_copy(update={"prompt": "x" * 9000})}))
    (found,) = manifests.instances()
    assert getattr(found, "spec", None) == first.spec


def test_a_database_is_opened_and_read_on_a_full_disk(full: Store, settings: Settings) -> None:
    with Store.open(settings.database) as second:
        assert second.instances.names() == ["first"]
    assert full.instances.names() == ["first"]
    full.close()
    with Store.open(settings.database) as again:
        assert again.instances.names() == ["first"]


def test_the_api_says_507_and_goes_on(full: Store, settings: Settings) -> None:
    with ExitStack() as stack:
        transport = stack.enter_context(
            InProcess(create_app(full, settings, TOKEN, ControllerLink(settings.controller_socket)))
        )
        headers = {"Authorization": f"Bearer {TOKEN}"}
        http = stack.enter_context(httpx.Client(transport=transport, base_url=BASE, headers=headers))
        answers = [http.post("/api/instances", json=instance_body(f"i{n}", prompt="x" * 99_000)) for n in range(40)]
        assert {answer.status_code for answer in answers} <= {201, 507}
        last = answers[-1]
        assert (last.status_code, last.json()["reason"]) == (507, "DiskFull")
        assert last.headers["content-type"] == "application/problem+json"
        assert int(last.headers["retry-after"]) >= 1
        acknowledged = {answer.json()["metadata"]["name"] for answer in answers if answer.status_code == 201}
        listed = http.get("/api/instances").json()["items"]
        assert {item["metadata"]["name"] for item in listed} == acknowledged | {"first"}
        (settings.state_dir.parent / "filler").unlink()
        assert http.post("/api/instances", json=instance_body("late")).status_code == 201
