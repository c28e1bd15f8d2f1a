"""The README's picture can be taken again; these are kept to be looked at: ``test-results/dashboard/*.png``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, ViewportSize

from support.fleet import controller_socket
from support.picture import WIDE, fill, open_page, take_picture
from support.web_server import ROOT, Server

pytestmark = pytest.mark.browser

KEPT = ROOT / "test-results" / "dashboard"
PHONE: ViewportSize = {"width": 390, "height": 844}
TALL: ViewportSize = {"width": 1280, "height": 1180}


@pytest.fixture
def fleet(server: Server) -> Iterator[Server]:
    with controller_socket(server.state / "controller.sock", server.store):
        fill(server)
        yield server


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_fleet_and_an_instance(fleet: Server, browser: Browser, theme: Literal["light", "dark"]) -> None:
    for name, viewport in (("wide", WIDE), ("phone", PHONE)):
        page = open_page(browser, fleet, theme, viewport)
        take_picture(page, KEPT / f"fleet-{name}-{theme}.png")
        page.context.close()
    page = open_page(browser, fleet, theme, TALL)
    page.get_by_role("link", name="checkout-flow").click()
    page.get_by_text("docker exec").wait_for()
    page.get_by_text("Brought 4 commits home").wait_for()
    take_picture(page, KEPT / f"instance-{theme}.png")
    assert (KEPT / f"instance-{theme}.png").stat().st_size > 50_000
    page.context.close()
