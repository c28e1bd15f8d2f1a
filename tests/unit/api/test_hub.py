"""The hub and the stream, moment by moment."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message

from api.hub import MAX_QUEUED, Frame, Hub, Subscriber, encode
from api.watch import ChangeStream
from api.watching import HEARTBEAT_SECONDS, parse_instance, parse_stream
from controller.resources import Instance, InstanceStatus
from controller.store import Store
from support.api_world import RunningServer, instance_manifest


def frames(*revisions: int) -> Sequence[Frame]:
    return [Frame("Instance", n, f"event: change\nid: {n}\ndata: {n}\n\n".encode()) for n in revisions]


def test_what_the_past_tells_is_not_told_again() -> None:
    async def scenario() -> list[int]:
        subscriber = Subscriber({"Instance"}, 5)
        subscriber.offer(frames(4, 5, 6, 7), 7)
        await asyncio.sleep(0)
        subscriber.skip_to(6)
        return [frame.revision for frame in await subscriber.next(5)]

    assert asyncio.run(scenario()) == [7]


def test_one_that_lost_changes_takes_no_more() -> None:
    async def scenario() -> tuple[list[Frame], bool]:
        subscriber = Subscriber({"Instance"}, 0)
        subscriber.offer(frames(*range(1, MAX_QUEUED + 2)), MAX_QUEUED + 1)
        subscriber.offer(frames(9999), 9999)
        await asyncio.sleep(0)
        return await subscriber.next(5), subscriber.lost

    assert asyncio.run(scenario()) == ([], True)


def test_a_bookmark_never_runs_ahead_of_what_was_sent(store: Store) -> None:
    async def scenario() -> list[str]:
        hub = Hub(store)
        subscriber, past = await hub.subscribe(store.revision(), {"Instance"})
        sent: list[str] = []

        async def receive() -> Message:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            text = message.get("body", b"").decode()
            sent.extend(line for line in text.split("\n") if line.startswith(("id:", "data:", ":")))
            if text.startswith(": heartbeat"):
                subscriber.offer(frames(10), 10)  # arrives while the heartbeat is on its way
                await asyncio.sleep(0.01)
            if "data: 10" in text:
                hub.close()

        await ChangeStream(hub, subscriber, past, 0.05)({}, receive, send)
        return sent

    sent = asyncio.run(scenario())
    assert sent[sent.index("id: 10") + 1] == "data: 10", "the change's own, not a bookmark's"


def test_a_client_that_does_not_read_is_let_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.watch.SEND_SECONDS", 0.1)

    async def scenario() -> int:
        hub = Hub(store)
        subscriber, past = await hub.subscribe(store.revision(), {"Instance"})

        async def never() -> Message:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def stuck(message: Message) -> None:
            if message["type"] == "http.response.body":
                await asyncio.sleep(60)

        await asyncio.wait_for(ChangeStream(hub, subscriber, past, 15)({}, never, stuck), 10)
        hub.close()
        return hub.watchers

    assert asyncio.run(scenario()) == 0


def test_frames_survive_every_character(store: Store) -> None:
    store.instances.create(instance_manifest(prompt="a\r\nb\n\n\u2028\x0b\x85 data: x"))
    text = "".join(frame.text.decode() for frame in encode(store.feed(0)))
    (message,) = parse_stream(iter([text]))
    assert parse_instance(json.loads(message.data)["object"]) == store.instances.get("web")


@pytest.mark.usefixtures("shop")
def test_nothing_is_lost_over_many_broken_connections(server: RunningServer, store: Store) -> None:
    uids = [store.instances.create(instance_manifest(name)).metadata.uid for name in "abc"]
    done = threading.Event()

    def write() -> None:
        chance = random.Random(7)  # noqa: S311 - repeatable, not secret
        for attempt in range(1, 200):
            store.instances.update_status(chance.choice(uids), InstanceStatus(attempt=attempt))
        done.set()

    writer = threading.Thread(target=write)
    known: dict[str, Instance] = {}
    position = 0
    writer.start()
    with server.client() as client:
        while not (done.is_set() and position >= store.revision()):
            params: dict[str, Any] = {"resource_version": position, "heartbeat": HEARTBEAT_SECONDS}
            with client._transport.stream("/api/watch", params=params, read_timeout=10) as response:  # noqa: SLF001 - one connection at a time
                previous = position
                for count, message in enumerate(parse_stream(response.iter_text())):
                    if message.event == "change":
                        body = json.loads(message.data)
                        assert body["resource_version"] > previous, "told once, in order"
                        previous = body["resource_version"]
                        if body["kind"] == "Instance":
                            known[body["name"]] = parse_instance(body["object"])
                    position = int(message.id or position)
                    if count > 10 or position >= store.revision():
                        break
    writer.join()
    assert known == {instance.metadata.name: instance for instance in store.instances.list()}
