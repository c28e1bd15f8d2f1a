"""When the database cannot be written: reads go on, writes say so, and both recover."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from sqlalchemy import event

from api.app import create_app
from api.controller_link import ControllerLink
from controller.settings import Settings
from controller.store import Store, database
from support.api_world import BASE, TOKEN, RunningServer, instance_body, repository_manifest
from support.in_process import InProcess
from support.ready_database import open_ready

LONGEST_SECONDS = 60.0


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    with open_ready(settings.database) as opened:
        opened.repositories.create(repository_manifest())
        yield opened


@pytest.fixture
def http(store: Store, settings: Settings) -> Iterator[httpx.Client]:
    app = create_app(store, settings, TOKEN, ControllerLink(settings.controller_socket))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with InProcess(app) as transport, httpx.Client(transport=transport, base_url=BASE, headers=headers) as client:
        yield client


def test_a_locked_database_refuses_writes_for_now(http: httpx.Client, settings: Settings) -> None:
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = http.post("/api/instances", json=instance_body())
        assert (refused.status_code, refused.json()["reason"]) == (503, "DatabaseLocked")
        assert refused.headers["retry-after"] == "1"
        assert http.get("/api/repositories/shop").status_code == 200
        other.execute("ROLLBACK")
    assert http.post("/api/instances", json=instance_body()).status_code == 201


def test_reading_goes_on_while_more_want_to_write_than_there_are_threads(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Another program keeps the database all the while; nothing that was refused is there, nothing else is missing."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 4.0)
    many = settings.model_copy(update={"max_instances": 0})
    server = RunningServer(create_app(store, many, TOKEN, ControllerLink(settings.controller_socket)))
    request.addfinalizer(server.stop)
    answers: queue.SimpleQueue[httpx.Response] = queue.SimpleQueue()
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        closing(sqlite3.connect(settings.database, isolation_level=None)) as other,
        httpx.Client(base_url=server.url, headers=headers, limits=limits, timeout=LONGEST_SECONDS) as client,
    ):
        other.execute("BEGIN IMMEDIATE")

        def write(number: int) -> None:
            answers.put(client.post("/api/instances", json=instance_body(f"i{number}")))

        writers = [threading.Thread(target=write, args=(number,)) for number in range(80)]
        for writer in writers:
            writer.start()
        waits = []
        while any(writer.is_alive() for writer in writers):
            began = time.monotonic()
            assert client.get("/api/repositories/shop").status_code == 200
            waits.append(time.monotonic() - began)
        other.execute("ROLLBACK")
        refused = [answers.get() for _ in writers]
        assert {(answer.status_code, answer.json()["reason"]) for answer in refused} == {(503, "DatabaseLocked")}
        assert store.instances.count() == 0
        assert max(waits) < 3.0, "those who write would hold all threads for four seconds"
        assert client.post("/api/instances", json=instance_body()).status_code == 201


def test_a_full_disk_is_507(http: httpx.Client, store: Store) -> None:
    engine = store._database._engine  # noqa: SLF001 - nothing public can fill a disk

    def full(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(engine, "checkout", full)
    body = instance_body(prompt="x" * 199_000, env={f"V{n}": "x" * 3000 for n in range(200)})
    refused = http.post("/api/instances", json=body)
    assert (refused.status_code, refused.json()["reason"]) == (507, "DiskFull")
    assert http.get("/api/instances").json()["items"] == []
    event.remove(engine, "checkout", full)


def test_after_a_restore_from_an_older_copy_nobody_goes_on_with_what_was_lost(settings: Settings) -> None:
    """They had come to revision 50; the copy was made when there was one."""
    with open_ready(settings.database) as before:
        before.repositories.create(repository_manifest())
    settings.database.with_name("state.db.mark").write_bytes(b"%020d %020d\n" % (50, 3))
    with Store.open(settings.database) as restored:
        app = create_app(restored, settings, TOKEN, ControllerLink(settings.controller_socket))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with InProcess(app) as transport, httpx.Client(transport=transport, base_url=BASE, headers=headers) as client:
            for seen in (1, 2, 49, 50):
                gone = client.get("/api/watch", params={"resource_version": seen})
                assert (gone.status_code, gone.json()["reason"]) == (410, "RevisionGone")
            listed = client.get("/api/repositories").json()
            assert listed["resource_version"] > 50
            created = client.post("/api/instances", json=instance_body())
            assert created.json()["metadata"]["resource_version"] > listed["resource_version"]
