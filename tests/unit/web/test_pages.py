"""The pages without a browser: what they are built of and how they are patched (NiceGUI's simulated user)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from nicegui.testing import User
from nicegui.testing.user_simulation import user_simulation

from api.client import Client
from controller.resources import Instance, InstanceSpec, Metadata, SessionState
from support.fleet import Report, ago, status_of
from ui.web.commands import Commands
from ui.web.feed import Changes, Feed
from ui.web.fleet import FleetPage, row_text
from ui.web.instance import InstancePage
from ui.web.parts import Row
from ui.web.view import view_of


class StillFeed(Feed):
    """Knows what it is told and watches nothing."""

    def __init__(self, *instances: Instance) -> None:
        super().__init__(Client("http://nowhere.invalid"))
        self.synced = True
        self.know(*instances)

    def know(self, *instances: Instance) -> None:
        before = frozenset(self.instances)
        self.instances = {instance.metadata.name: instance for instance in instances}
        self.views = {name: view_of(instance) for name, instance in self.instances.items()}
        self._publish(Changes(before | frozenset(self.instances), synced=True))


def instance(name: str, seen: Report | None = None) -> Instance:
    made = Instance(
        metadata=Metadata(name=name, uid=f"uid-{name}", created_at=ago(hours=1)),
        spec=InstanceSpec(repository="shop", branch=f"feature/{name}"),
    )
    return made.model_copy(update={"status": status_of(made, seen or Report())})


@asynccontextmanager
async def visitor(page: Callable[[], object]) -> AsyncIterator[User]:
    def build() -> None:
        page()

    async with user_simulation(build) as user:
        await user.open("/")
        yield user


def rows(user: User) -> dict[str, Row]:
    assert user.client is not None
    found = [element for element in user.client.elements.values() if isinstance(element, Row)]
    return {json.loads(row.props["row"])["name"]: row for row in found}


def test_a_change_patches_the_row_it_belongs_to_and_nothing_else() -> None:
    feed = StillFeed(instance("api"), instance("web"))

    async def scene() -> None:
        async with visitor(lambda: FleetPage(feed, Commands(Client("http://nowhere.invalid")))) as user:
            before = rows(user)
            await user.should_see("2 instances in 1 repository")
            feed.know(feed.instances["api"], instance("web", Report(SessionState.WORKING, tool="Bash")))
            after = rows(user)
            assert after == before
            assert json.loads(after["web"].props["row"])["doing"] == "Using Bash"
            assert user.client is not None
            patched = [element for element in user.client.outbox.updates.values() if isinstance(element, Row)]
            assert patched == [after["web"]]

    asyncio.run(scene())


def test_an_equal_report_patches_nothing() -> None:
    item = instance("web")
    feed = StillFeed(item)

    async def scene() -> None:
        async with visitor(lambda: FleetPage(feed, Commands(Client("http://nowhere.invalid")))) as user:
            assert user.client is not None
            user.client.outbox.updates.clear()
            feed.know(item.model_copy())
            assert not list(user.client.outbox.updates)

    asyncio.run(scene())


def test_rows_come_and_go_in_order() -> None:
    feed = StillFeed(instance("b"))

    async def scene() -> None:
        async with visitor(lambda: FleetPage(feed, Commands(Client("http://nowhere.invalid")))) as user:
            feed.know(instance("c"), instance("a"), instance("b"))
            body = rows(user)["a"].parent_slot
            assert body is not None
            assert [json.loads(child.props["row"])["name"] for child in body.children] == ["a", "b", "c"]
            feed.know(instance("b"))
            assert set(rows(user)) == {"b"}
            feed.know()
            await user.should_see("No instances yet")

    asyncio.run(scene())


def test_a_page_that_was_left_is_told_nothing_more() -> None:
    feed = StillFeed(instance("web"))

    async def scene() -> None:
        async with visitor(lambda: FleetPage(feed, Commands(Client("http://nowhere.invalid")))) as user:
            assert user.client is not None
            listeners = len(feed._listeners)  # noqa: SLF001 - what must not leak
            assert listeners > 0
            user.client.delete()
            assert feed._listeners == []  # noqa: SLF001 - same

    asyncio.run(scene())


def test_an_unreachable_api_is_said_on_the_page() -> None:
    feed = StillFeed(instance("web"))
    client = Client("http://127.0.0.1:1")

    async def scene() -> None:
        async with visitor(lambda: InstancePage(feed, client, Commands(client), "web")) as user:
            user.find(marker="suspend").click()
            for _ in range(50):
                if user.notify.messages:
                    break
                await asyncio.sleep(0.1)
            assert "no cc-orchestrator server answers" in user.notify.messages[0]

    asyncio.run(scene())


def test_a_browser_can_only_pick_what_the_row_offers() -> None:
    feed = StillFeed(instance("web"))
    commands = Commands(Client("http://nowhere.invalid"))
    asked: list[tuple[str, str]] = []
    commands.start = lambda name, action: asked.append((name, action))  # type: ignore[method-assign] # the edge of this test

    async def scene() -> None:
        async with visitor(lambda: FleetPage(feed, commands)) as user:
            body = rows(user)["web"].parent_slot
            assert body is not None
            for arguments in (
                None,
                {},
                {"detail": None},
                {"detail": {"name": "nobody", "action": "stop"}},
                {"detail": {"name": "web", "action": "resume"}},
                {"detail": {"name": ["web"], "action": {"stop": 1}}},
                {"detail": {"name": "web", "action": "stop"}},
            ):
                for listener in body.parent._event_listeners.values():  # noqa: SLF001 - as the socket would
                    body.parent._handle_event({"listener_id": listener.id, "args": arguments})  # noqa: SLF001 - same
            assert asked == [("web", "stop")]

    asyncio.run(scene())


@pytest.mark.parametrize("hostile", ["</script><script>", "line\u2028line", '"quoted" \\ {{x}}'])
def test_a_row_is_a_json_text(hostile: str) -> None:
    view = view_of(instance("web", Report(SessionState.WORKING, tool=hostile)))
    assert json.loads(row_text(view))["doing"].startswith("Using")
