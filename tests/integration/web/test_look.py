"""On every screen: nothing sticks out, light and dark, everything reachable by keyboard, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Request, ViewportSize, expect

from controller.resources import ConditionStatus, SessionState
from support.fleet import Report, declare, register, report, tell
from support.web_server import Server

pytestmark = pytest.mark.browser

PHONE: ViewportSize = {"width": 360, "height": 740}
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
LONG = "a-name-as-long-as-a-name-may-be-40-chars"


@pytest.fixture(autouse=True)
def fleet(server: Server) -> None:
    register(server.client, server.store, "a-repository-with-quite-a-long-name")
    declare(
        server.client,
        LONG,
        "a-repository-with-quite-a-long-name",
        branch="feature/" + "very-long-" * 15 + "name",
        prompt="word" * 200,
    )
    declare(server.client, "web", "a-repository-with-quite-a-long-name")
    report(
        server.store, LONG, Report(SessionState.WAITING, waiting_for="permission prompt", tool="mcp__" + "tool_" * 20)
    )
    report(server.store, "web", Report(None, ready=ConditionStatus.FALSE, reason="CrashLoop", message="x" * 300))
    tell(server.store, LONG, "E" * 60, "y" * 300)


@pytest.fixture
def phone(browser: Browser, server: Server) -> Iterator[Page]:
    """A signed-in page on a small touch screen."""
    context = browser.new_context(base_url=server.url, viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"/login#token={server.token}")
    page.wait_for_url(f"{server.url}/", timeout=20_000)
    expect(page.get_by_role("link", name="web", exact=True)).to_be_visible()
    yield page
    context.close()


def overflow(page: Page) -> int:
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


@pytest.mark.parametrize("path", ["/", f"/instances/{LONG}", "/instances/web", "/nothing", "/login"])
def test_nothing_sticks_out_on_a_phone(phone: Page, path: str) -> None:
    phone.goto(path)
    expect(phone.get_by_role("heading").first).to_be_visible()
    phone.wait_for_timeout(300)  # fonts and rows settle; what is measured has no event of its own
    assert overflow(phone) == 0


def test_a_phone_shows_cards_whose_buttons_can_be_hit(phone: Page) -> None:
    expect(phone.get_by_role("columnheader").first).to_be_hidden()
    for name in ("Restart web", "More actions for web", "New instance"):
        box = phone.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
        assert box["height"] >= 34
    phone.get_by_role("button", name="More actions for web").tap()
    phone.get_by_role("menuitem", name="Delete").tap()
    expect(phone.get_by_role("button", name="Keep it")).to_be_in_viewport()


def test_the_dialog_fits_a_phone(phone: Page) -> None:
    phone.get_by_role("button", name="New instance").tap()
    dialog = phone.get_by_role("dialog", name="New instance")
    expect(dialog).to_be_visible()
    assert overflow(phone) == 0
    dialog.get_by_role("button", name="Create instance").scroll_into_view_if_needed()
    expect(dialog.get_by_role("button", name="Create instance")).to_be_in_viewport()


def assert_theme(page: Page, theme: str) -> None:
    expect(page.locator("html")).to_have_attribute("data-theme", theme)
    text: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    parts = [int(part) for part in text.removeprefix("rgb(").removesuffix(")").split(",")]
    assert max(parts) < 60 if theme == "dark" else min(parts) > 200


def test_the_theme_follows_the_system_until_somebody_chooses(page: Page) -> None:
    for theme in SCHEMES:
        page.emulate_media(color_scheme=theme)
        assert_theme(page, theme)
    page.get_by_role("button", name="Theme: auto").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert_theme(page, "dark")
    page.goto("/instances/web")
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert_theme(page, "dark")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Page) -> None:
    expect(page.get_by_role("link", name="web", exact=True)).to_be_visible()
    reached: list[str] = []
    for _ in range(24):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
                const now = document.activeElement;
                if (now === document.body) return ["", ""];
                const edge = (element, part) => getComputedStyle(element, part).outlineStyle;
                return [now.ariaLabel || now.textContent, edge(now) + edge(now, "::after")];
            }"""
        )
        if name:
            reached.append(name)
            assert "solid" in outline, name
    for wanted in (
        "cc-orchestrator",
        "Theme: auto",
        "Sign out",
        "Search instances",
        "New instance",
        "web",
        "Restart web",
    ):
        assert wanted in reached


def test_a_page_is_made_of_our_own_files_only(page: Page, server: Server) -> None:
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request))  # noqa: PLW0108 - Playwright cannot take a builtin
    page.reload()
    expect(page.get_by_role("link", name="web", exact=True)).to_be_visible()
    assert seen
    assert [request.url for request in seen if not request.url.startswith((server.url, "data:"))] == []
    fonts = page.evaluate(
        "document.fonts.ready.then(() => [...document.fonts].filter(f => f.status == 'loaded').length)"
    )
    assert fonts >= 1
