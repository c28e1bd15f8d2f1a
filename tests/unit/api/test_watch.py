"""The watch, through a real server."""

from __future__ import annotations

import asyncio
import gc
import json
import queue
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api import hub as hub_module
from api.app import create_app
from api.client import Client, Resync, WatchEvent
from api.controller_link import ControllerLink
from api.watching import Message, parse_stream
from controller.resources import EventType, Instance, InstanceManifest, InstanceStatus, Kind, Usage
from controller.settings import Settings
from controller.store import Store
from controller.store import tombstones as tombstones_module
from support.api_world import RunningServer, instance_manifest

pytestmark = pytest.mark.usefixtures("shop")


def declare(store: Store, name: str) -> Instance:
    return store.instances.create(
        InstanceManifest.model_validate({"metadata": {"name": name}, "spec": {"repository": "shop"}})
    )


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Raw:
    """An event stream, read as it is by a thread."""

    def __init__(self, response: httpx.Response) -> None:
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, args=(response,), daemon=True)
        self._thread.start()

    def _read(self, response: httpx.Response) -> None:
        try:
            for message in parse_stream(response.iter_text()):
                self._queue.put(message)
        except httpx.HTTPError:
            pass
        self._queue.put(None)

    def next(self, event: str | None = None) -> Message | None:
        """Return the next message (of that kind), ``None`` at the end."""
        deadline = time.monotonic() + 10
        while True:
            message = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            if message is None or event is None or message.event == event:
                return message

    def change(self) -> dict[str, Any]:
        message = self.next("change")
        assert message is not None, "the stream ended"
        found: dict[str, Any] = json.loads(message.data)
        return found


@contextmanager
def watching(server: RunningServer, token: str, **query: str | float) -> Iterator[Raw]:
    headers = {"Authorization": f"Bearer {token}"}
    with (
        httpx.Client(base_url=server.url, timeout=10) as http,
        http.stream("GET", "/api/watch", params=query, headers=headers) as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Raw(response)
        # Closing alone would wait for the thread that reads.
        connection: socket.socket = response.extensions["network_stream"].get_extra_info("socket")
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def test_changes_come_as_they_happen(server: RunningServer, token: str, store: Store) -> None:
    with watching(server, token) as stream:
        bookmark = stream.next("bookmark")
        assert bookmark is not None
        assert bookmark.id == str(store.revision())
        made = declare(store, "web")
        change = stream.change()
        assert (change["type"], change["kind"], change["name"]) == ("ADDED", "Instance", "web")
        assert change["object"]["display"]["state"] == "STARTING"
        store.instances.update_status(made.metadata.uid, InstanceStatus(attempt=1))
        assert stream.change()["object"]["status"]["attempt"] == 1
        store.instances.request_deletion("web")
        assert stream.change()["object"]["display"]["state"] == "DELETING"
        store.instances.purge(made.metadata.uid)
        assert stream.change()["type"] == "DELETED"


def test_a_change_arrives_within_a_blink(server: RunningServer, token: str, store: Store) -> None:
    with watching(server, token) as stream:
        stream.next("bookmark")
        delays = []
        for number in range(20):
            started = time.monotonic()
            declare(store, f"i{number}")
            stream.change()
            delays.append(time.monotonic() - started)
    assert sorted(delays)[10] < 0.05, delays


def test_what_was_missed_is_replayed(server: RunningServer, token: str, store: Store) -> None:
    start = store.revision()
    first = declare(store, "a")
    declare(store, "b")
    with watching(server, token, resource_version=start) as stream:
        assert [stream.change()["name"] for _ in range(2)] == ["a", "b"]
        declare(store, "c")
        assert stream.change()["name"] == "c"
    with watching(server, token, resource_version=first.metadata.resource_version) as stream:
        assert stream.change()["name"] == "b"


def test_last_event_id_counts_more_than_the_query(server: RunningServer, token: str, store: Store) -> None:
    made = declare(store, "a")
    declare(store, "b")
    headers = {"Authorization": f"Bearer {token}", "Last-Event-ID": str(made.metadata.resource_version)}
    with httpx.stream("GET", f"{server.url}/api/watch?resource_version=0", headers=headers) as response:
        assert Raw(response).change()["name"] == "b"


def test_events_and_kinds_are_chosen(server: RunningServer, token: str, store: Store) -> None:
    with watching(server, token, kinds="Event", resource_version=0) as stream:
        made = declare(store, "web")
        store.events.record(Kind.INSTANCE, "web", made.metadata.uid, EventType.NORMAL, "Created", "m")
        store.events.record(Kind.INSTANCE, "web", made.metadata.uid, EventType.NORMAL, "Created", "m")
        found = [stream.change() for _ in range(1)]
        while found[-1]["object"]["count"] < 2:
            found.append(stream.change())
        assert {change["kind"] for change in found} == {"Event"}


def test_only_the_end_of_a_revision_can_be_resumed_from(store: Store) -> None:
    for name in "abc":
        store.instances.create(instance_manifest(name))
    usage = {i.metadata.uid: Usage(at=datetime.now(UTC)) for i in store.instances.list()}
    start = store.revision()
    store.instances.record_usage(usage)
    declare(store, "d")
    texts = [frame.text.decode() for frame in hub_module.encode(store.feed(start))]
    assert ["id: " in text for text in texts] == [False, False, True, True]


def test_silence_is_broken_by_heartbeats_and_moved_bookmarks(server: RunningServer, token: str, store: Store) -> None:
    with watching(server, token, kinds="Repository", heartbeat=0.5) as stream:
        first = stream.next("bookmark")
        assert stream.next("comment") is not None
        declare(store, "web")
        moved = stream.next("bookmark")
        assert first is not None
        assert moved is not None
        assert int(moved.id or 0) == int(first.id or 0) + 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("resource_version=999", 410),
        ("resource_version=-1", 422),
        ("kinds=Tree", 422),
        ("kinds=", 422),
        ("heartbeat=0", 422),
    ],
)
def test_what_cannot_be_watched_is_a_problem(server: RunningServer, token: str, query: str, status: int) -> None:
    answer = httpx.get(f"{server.url}/api/watch?{query}", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    bad = {"Authorization": f"Bearer {token}", "Last-Event-ID": "x"}
    assert httpx.get(f"{server.url}/api/watch", headers=bad).status_code == 422


def test_watchers_share_one_reader_and_leave_nothing(server: RunningServer, token: str, store: Store) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with watching(server, token) as one, watching(server, token) as two:
        one.next("bookmark")
        two.next("bookmark")
        assert server.hub.watchers == 2
        assert [t.name for t in threading.enumerate()].count("watch-hub") == 1
        declare(store, "web")
        assert one.change() == two.change()
    wait_until(lambda: server.hub.watchers == 0, "watchers that went are forgotten")
    assert "watch-hub" not in before


def test_there_is_a_bound_on_watchers(server: RunningServer, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_WATCHERS", 1)
    with watching(server, token) as stream:
        stream.next("bookmark")
        refused = httpx.get(f"{server.url}/api/watch", headers={"Authorization": f"Bearer {token}"})
        assert (refused.status_code, refused.json()["reason"]) == (503, "TooManyWatchers")


def open_silent(server: RunningServer, token: str) -> socket.socket:
    """Begin to watch and never read."""
    port = int(server.url.rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = f"GET /api/watch HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def test_readers_that_never_read_cost_little_and_hold_up_nobody(
    server: RunningServer, token: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_QUEUED", 50)
    silent = [open_silent(server, token) for _ in range(100)]
    wait_until(lambda: server.hub.watchers == 100, "all watch")
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with watching(server, token) as stream:
        stream.next("bookmark")
        manifest = instance_manifest("big", prompt="x" * 20_000)
        made = store.instances.create(manifest)
        for attempt in range(400):
            store.instances.update_status(made.metadata.uid, InstanceStatus(attempt=attempt))
        started = time.monotonic()
        declare(store, "last")
        while stream.change()["name"] != "last":
            assert time.monotonic() - started < 5
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 40, f"{grown} MiB for 100 readers that never read"
    for connection in silent:
        connection.close()
    wait_until(lambda: server.hub.watchers == 0, "all are gone")


def test_a_slow_reader_is_told_to_list_again(store: Store) -> None:
    async def scenario() -> tuple[bool, int]:
        hub = hub_module.Hub(store)
        subscriber, past = await hub.subscribe(store.revision(), {"Instance"})
        assert past == []
        for number in range(hub_module.MAX_QUEUED + 5):
            subscriber.offer([hub_module.Frame("Instance", 1000 + number, b"x")], 1000 + number)
        frames = await subscriber.next(5.0)
        await asyncio.sleep(0)
        frames += await subscriber.next(5.0)
        hub.close()
        return subscriber.lost, len(frames)

    lost, frames = asyncio.run(scenario())
    assert lost
    assert frames == 0


def test_open_watches_end_when_the_server_stops(
    server: RunningServer, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(server, token) as one, watching(server, token) as two:
        one.next("bookmark")
        two.next("bookmark")
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 2.0
        while one.next() is not None:
            pass
    assert "graceful shutdown exceeded" not in caplog.text
    assert "without completing" not in caplog.text


def collect(
    client: Client, stop: threading.Event, into: queue.SimpleQueue[Any], resource_version: int | None = None
) -> threading.Thread:
    def run() -> None:
        try:
            for item in client.watch(resource_version, stop=stop):
                into.put(item)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            into.put(error)
        finally:
            client.close()
            into.put(None)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_client_begins_with_a_list_and_ends_when_told(server: RunningServer, store: Store) -> None:
    stop, found = threading.Event(), queue.SimpleQueue[Any]()
    thread = collect(server.client(), stop, found)
    first = found.get(timeout=10)
    assert first == Resync(store.revision())
    declare(store, "web")
    change = found.get(timeout=10)
    assert isinstance(change, WatchEvent)
    assert isinstance(change.object, Instance)
    assert change.object == store.instances.get("web")
    stop.set()
    thread.join(4)
    assert not thread.is_alive()


def test_the_client_resumes_after_the_server_restarted(
    server: RunningServer, store: Store, settings: Settings, token: str
) -> None:
    stop, found = threading.Event(), queue.SimpleQueue[Any]()
    thread = collect(server.client(), stop, found, resource_version=store.revision())
    declare(store, "before")
    assert found.get(timeout=10).name == "before"
    server.stop()
    declare(store, "between")
    second = RunningServer(create_app(store, settings, token, ControllerLink(settings.controller_socket)), server.port)
    try:
        assert found.get(timeout=15).name == "between"
        declare(store, "after")
        assert found.get(timeout=10).name == "after"
    finally:
        stop.set()
        thread.join(5)
        second.stop()


def test_the_client_lists_again_when_changes_are_lost(
    server: RunningServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tombstones_module, "MAX_TOMBSTONES", 2)
    start = store.revision()
    for name in "abc":
        made = declare(store, name)
        store.instances.request_deletion(name)
        store.instances.purge(made.metadata.uid)
    stop, found = threading.Event(), queue.SimpleQueue[Any]()
    thread = collect(server.client(), stop, found, resource_version=start)
    assert found.get(timeout=10) == Resync(store.revision())
    declare(store, "d")
    assert found.get(timeout=10).name == "d"
    stop.set()
    thread.join(5)


def test_the_client_cut_off_in_the_stream_lists_again(server: RunningServer, store: Store) -> None:
    stop, found = threading.Event(), queue.SimpleQueue[Any]()
    thread = collect(server.client(), stop, found)
    assert isinstance(found.get(timeout=10), Resync)
    wait_until(lambda: server.hub.watchers == 1, "watching")
    for subscriber in tuple(server.hub._subscribers):  # noqa: SLF001 - plays a reader that is too slow
        subscriber.lose()
    assert isinstance(found.get(timeout=10), Resync)
    declare(store, "web")
    assert found.get(timeout=10).name == "web"
    stop.set()
    thread.join(5)
