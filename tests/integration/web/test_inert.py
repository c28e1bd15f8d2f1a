"""Whatever agents, users and repositories are called or say is shown as text."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from controller.resources import ConditionStatus, EventType, InputState, SessionState
from support.fleet import Report, declare, register, report, tell
from support.web_server import Server

pytestmark = pytest.mark.browser

MARKUP = (
    "<img src=x onerror='window.broken=1'><script>window.broken=1</script>{{constructor.constructor('broken=1')()}}"
)
ESCAPES = "\x1b]52;c;YnJva2Vu\x07\x1b[31mred\u202ereversed\u200b\x00"
HOSTILE = f"{MARKUP}`${{window.broken=1}}`&lt;script&gt;{ESCAPES}"


@pytest.fixture
def hostile(server: Server) -> None:
    register(server.client, server.store, "shop")
    declare(server.client, "web", "shop", prompt=HOSTILE.replace("\x00", ""), branch="a'\"<b>`${x}")
    declare(server.client, "failed", "shop")
    report(server.store, "web", Report(SessionState.WORKING, tool=HOSTILE))
    report(server.store, "failed", Report(None, ready=ConditionStatus.FALSE, reason="Failed", message=HOSTILE))
    tell(server.store, "web", "Odd", HOSTILE, EventType.WARNING)
    tell(server.store, "web", MARKUP, "the reason is odd")


def assert_inert(page: Page) -> None:
    assert page.evaluate("window.broken") is None
    assert page.locator("img, .page script, .page b").count() == 0
    text = page.locator(".page").inner_text()
    assert "<script>window.broken=1</script>" in text
    assert not set("\x1b\x07\x00\u202e\u200b") & set(text)


@pytest.mark.usefixtures("hostile")
def test_the_fleet_shows_hostile_text_as_text(page: Page) -> None:
    expect(page.get_by_text("a'\"<b>`${x}", exact=True)).to_be_visible()
    assert_inert(page)
    page.reload()  # the first time it came over the socket, now inside the page
    expect(page.get_by_text("a'\"<b>`${x}", exact=True)).to_be_visible()
    assert_inert(page)


@pytest.mark.usefixtures("hostile")
def test_an_instance_page_shows_hostile_text_as_text(page: Page, server: Server) -> None:
    page.goto("/instances/web")
    expect(page.get_by_text("the reason is odd")).to_be_visible()
    expect(page.get_by_text("Odd", exact=True)).to_be_visible()
    page.get_by_label("Prompt for web").fill("hello")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Waits for its turn.")).to_be_visible()
    server.store.inputs.set_state(server.store.inputs.list("web")[0].id, InputState.REJECTED, MARKUP)
    expect(page.get_by_text("Refused: <img", exact=False)).to_be_visible()
    assert_inert(page)


@pytest.mark.usefixtures("hostile")
def test_an_error_in_the_dialog_shows_hostile_text_as_text(page: Page) -> None:
    page.get_by_role("button", name="New instance").click()
    dialog = page.get_by_role("dialog", name="New instance")
    dialog.get_by_label("Name").fill(MARKUP)
    dialog.get_by_role("button", name="Create instance").click()
    expect(dialog.get_by_text("is not a valid name", exact=False)).to_be_visible()
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0


@pytest.mark.usefixtures("hostile")
def test_a_notification_shows_hostile_text_as_text(page: Page, server: Server) -> None:
    page.goto("/instances/web")
    too_long = MARKUP + "x" * 200_001
    page.get_by_label("Prompt for web").evaluate("(field, text) => { field.value = text }", too_long)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Not sent.")).to_be_visible()
    assert server.store.inputs.list("web") == []
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0


@pytest.mark.usefixtures("hostile")
def test_a_million_characters_leave_the_page_alive(page: Page, server: Server) -> None:
    report(server.store, "web", Report(SessionState.WORKING, tool="A" * 1_000_000))
    report(server.store, "failed", Report(None, ready=ConditionStatus.FALSE, reason="F", message="B" * 1_000_000))
    expect(page.get_by_text("Using AAAA", exact=False)).to_be_visible()
    assert len(page.content()) < 400_000
    page.get_by_role("searchbox").fill("failed")
    expect(page.get_by_role("link", name="web", exact=True)).to_be_hidden()
