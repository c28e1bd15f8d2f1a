from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from api.client import Client, Health, Resync, ServerUnavailable, WatchEvent
from api.wire import PartHealth as WirePart
from controller.resources import (
    Condition,
    ConditionStatus,
    Event,
    Instance,
    InstanceSpec,
    InstanceStatus,
    Kind,
    Metadata,
    Repository,
    RepositorySpec,
)
from ui.web import feed as module
from ui.web.feed import Changes, Feed
from ui.web.health import ENGINE_DOWN, PartHealth, engine_health
from ui.web.health import Health as Asked

NOW = datetime(2026, 11, 20, tzinfo=UTC)
WAIT_SECONDS = 5.0


def instance(name: str, *conditions: Condition) -> Instance:
    return Instance(
        metadata=Metadata(name=name, uid=f"uid-{name}", created_at=NOW),
        spec=InstanceSpec(repository="shop"),
        status=InstanceStatus(conditions=conditions),
    )


def repository(name: str) -> Repository:
    return Repository(metadata=Metadata(name=name, uid=name, created_at=NOW), spec=RepositorySpec(path=f"/src/{name}"))


def ready(status: ConditionStatus, reason: str, message: str = "") -> Condition:
    return Condition(type="Ready", status=status, reason=reason, message=message, last_transition_at=NOW)


def modified(item: Instance | Repository) -> WatchEvent:
    return WatchEvent(type="MODIFIED", kind=item.kind, name=item.metadata.name, resource_version=2, object=item)


def deleted(item: Instance | Repository) -> WatchEvent:
    return WatchEvent(type="DELETED", kind=item.kind, name=item.metadata.name, resource_version=3, object=item)


Script = Sequence[WatchEvent | Resync | Exception]


class Endless(Sequence[WatchEvent | Resync | Exception]):
    """A fleet in which something changes all the time."""

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401  # as of any sequence
        threading.Event().wait(0.002)
        return Resync(1) if index == 0 else modified(instance("web"))


class ScriptedClient(Client):
    """Lists and streams what it was told to; each stretch of the script is one connection, which then breaks."""

    def __init__(self, listed: Sequence[Instance], *stretches: Script) -> None:
        super().__init__("http://nowhere.invalid")
        self.listed = list(listed)
        self.watches = 0
        self.lists = 0
        self._stretches = list(stretches)

    def list_instances(self, selector: str | None = None, repository: str | None = None) -> list[Instance]:
        del selector, repository
        self.lists += 1
        return self.listed

    def list_repositories(self, selector: str | None = None) -> list[Repository]:
        del selector
        return [repository("shop")]

    def watch(
        self,
        resource_version: int | None = None,
        kinds: Collection[Any] | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[WatchEvent | Resync]:
        del resource_version, kinds
        self.watches += 1
        assert stop is not None
        if not self._stretches:
            stop.wait(WAIT_SECONDS)
            return
        for item in self._stretches.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item

    def health(self) -> Health:
        return Health(status="ok", api=WirePart(status="ok"), controller=WirePart(status="ok"))


@asynccontextmanager
async def running(client: Client) -> AsyncIterator[tuple[Feed, list[Changes]]]:
    feed = Feed(client)
    seen: list[Changes] = []
    feed.subscribe(seen.append)
    feed.start()
    try:
        yield feed, seen
    finally:
        feed.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for is another thread's doing
            await asyncio.sleep(0.01)


def test_everything_is_listed_first_and_views_are_made() -> None:
    async def scene() -> None:
        async with running(ScriptedClient([instance("api"), instance("web")], [Resync(1)])) as (feed, seen):
            await until(lambda: feed.synced)
            assert set(feed.instances) == set(feed.views) == {"api", "web"}
            assert set(feed.repositories) == {"shop"}
            assert feed.views["web"].name == "web"
            assert any(changes.synced and changes.instances == {"api", "web"} for changes in seen)

    asyncio.run(scene())


def test_changes_arrive_by_name_and_what_is_deleted_goes() -> None:
    changed = instance("web", ready(ConditionStatus.FALSE, "CrashLoop"))
    script: Script = [Resync(1), modified(changed), deleted(instance("api")), modified(repository("docs"))]

    async def scene() -> None:
        async with running(ScriptedClient([instance("api"), instance("web")], script)) as (feed, _):
            await until(lambda: "docs" in feed.repositories)
            assert set(feed.instances) == set(feed.views) == {"web"}
            assert feed.views["web"].reason == "CrashLoop"

    asyncio.run(scene())


def test_a_burst_of_changes_is_few_batches() -> None:
    burst = [modified(instance(f"web-{number % 100}")) for number in range(1000)]

    async def scene() -> None:
        async with running(ScriptedClient([], [Resync(1), *burst])) as (feed, seen):
            await until(lambda: len(feed.instances) == 100)
            assert len([changes for changes in seen if changes.instances]) <= 5

    asyncio.run(scene())


def test_events_are_handed_on_in_order() -> None:
    def event(number: int) -> WatchEvent:
        told = Event(
            id=number, kind=Kind.INSTANCE, name="web", uid="u", reason="R", message="m", first_at=NOW, last_at=NOW
        )
        return WatchEvent(type="ADDED", kind="Event", name="web", resource_version=number, object=told)

    async def scene() -> None:
        async with running(ScriptedClient([], [Resync(1), event(1), event(2), event(3)])) as (_, seen):
            await until(lambda: len([event for changes in seen for event in changes.events]) == 3)
            assert [event.id for changes in seen for event in changes.events] == [1, 2, 3]

    asyncio.run(scene())


@pytest.mark.parametrize(
    "error", [ServerUnavailable("down"), ValueError("an answer nobody can read")], ids=["down", "odd"]
)
def test_a_broken_watch_is_begun_again_and_lists_again(error: Exception) -> None:
    client = ScriptedClient([instance("web")], [error], [Resync(1), error], [Resync(2)])

    async def scene() -> None:
        async with running(client) as (feed, _):
            await until(lambda: client.lists >= 2)
            client.listed.clear()
            assert feed.synced

    asyncio.run(scene())


def test_listing_again_forgets_what_is_gone() -> None:
    client = ScriptedClient([instance("api"), instance("web")], [Resync(1)], [Resync(2)])

    async def scene() -> None:
        async with running(client) as (feed, seen):
            await until(lambda: len(feed.instances) == 2)
            client.listed = [instance("web")]
            await until(lambda: set(feed.instances) == {"web"})
            assert "api" in seen[-1].instances | seen[-2].instances

    asyncio.run(scene())


def test_a_page_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        feed = Feed(ScriptedClient([instance("web")], [Resync(1)]))
        seen: list[Changes] = []

        def broken(changes: Changes) -> None:
            raise RuntimeError(changes)

        feed.subscribe(broken)
        feed.subscribe(seen.append)
        feed.start()
        await until(lambda: seen)
        feed.stop()

    asyncio.run(scene())
    assert "page failed to show changes" in caplog.text


def test_a_page_that_has_gone_is_told_nothing() -> None:
    async def scene() -> None:
        client = ScriptedClient([instance("web")], [Resync(1)])
        feed = Feed(client)
        seen: list[Changes] = []
        unsubscribe = feed.subscribe(seen.append)
        unsubscribe()
        unsubscribe()
        feed.start()
        await until(lambda: feed.synced)
        feed.stop()
        assert seen == []

    asyncio.run(scene())


def test_nothing_is_watched_with_nobody_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.01)
    client = ScriptedClient([instance("web")], Endless(), [Resync(2)])

    async def scene() -> None:
        feed = Feed(client)
        feed.start()
        try:
            await until(lambda: feed.health.controller.healthy)
            assert client.watches == 0
            seen: list[Changes] = []
            close = feed.subscribe(seen.append)
            await until(lambda: feed.synced)
            close()
            await until(lambda: not feed.synced)
            assert client.watches == 1
            feed.subscribe(seen.append)
            await until(lambda: feed.synced)
            assert (client.watches, client.lists) == (2, 2)
        finally:
            feed.stop()

    asyncio.run(scene())


def test_following_a_link_is_not_leaving() -> None:
    client = ScriptedClient([instance("web")], Endless())

    async def scene() -> None:
        async with running(client) as (feed, _):
            close = feed.subscribe(lambda _: None)
            await until(lambda: feed.synced)
            close()
            await asyncio.sleep(0.05)
            assert feed.synced

    asyncio.run(scene())


def test_a_stopped_feed_watches_no_more() -> None:
    client = ScriptedClient([])

    async def scene() -> None:
        async with running(client):
            await until(lambda: client.watches == 1)
        before = client.watches
        await asyncio.sleep(0.3)
        assert client.watches == before

    asyncio.run(scene())


UP = PartHealth(healthy=True, sentence="")

ENGINES = {
    "nothing has run": ([], UP, None),
    "an instance nobody has looked at": ([instance("web")], UP, None),
    "one was looked at": ([instance("web", ready(ConditionStatus.TRUE, "Ready"))], UP, True),
    "an ordinary failure is not the engine's": ([instance("web", ready(ConditionStatus.FALSE, "CrashLoop"))], UP, True),
    "one look failed because of the engine": (
        [
            instance("a", ready(ConditionStatus.TRUE, "Ready")),
            instance("b", ready(ConditionStatus.UNKNOWN, ENGINE_DOWN)),
        ],
        UP,
        False,
    ),
    "without the controller nobody knows": (
        [instance("web", ready(ConditionStatus.TRUE, "Ready"))],
        PartHealth(healthy=False, sentence="down"),
        None,
    ),
}


@pytest.mark.parametrize(("instances", "controller", "healthy"), ENGINES.values(), ids=ENGINES.keys())
def test_the_engine_is_judged_by_what_the_controller_reports(
    instances: list[Instance],
    controller: PartHealth,
    healthy: bool | None,  # noqa: FBT001 - a row of the table
) -> None:
    assert engine_health(instances, Asked(controller)).healthy is healthy


def test_the_controllers_own_word_on_the_engine_counts_unless_a_look_has_just_failed() -> None:
    well = instance("a", ready(ConditionStatus.TRUE, "Ready"))
    unwell = instance("b", ready(ConditionStatus.UNKNOWN, ENGINE_DOWN))
    for word in (True, False):
        asked = Asked(UP, PartHealth(healthy=word, sentence="its word"))
        assert engine_health([], asked) == engine_health([well], asked) == asked.engine
        assert engine_health([well, unwell], asked).healthy is False
        assert engine_health([], Asked(PartHealth(healthy=False), asked.engine)).healthy is None


def test_the_controller_is_asked() -> None:
    async def scene() -> None:
        async with running(ScriptedClient([])) as (feed, seen):
            await until(lambda: feed.health.controller.healthy)
            assert any(changes.health for changes in seen)

    asyncio.run(scene())
