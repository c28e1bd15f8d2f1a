"""A real server process on loopback, its store, and Chromium; no Docker and no controller."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, sync_playwright

from support.web_server import Server, start_server, stop_server


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_server(tmp_path_factory.mktemp("server"))
    yield server
    stop_server(server)
    text = server.log.read_text()
    assert " ERROR " not in text
    assert "Traceback" not in text


@pytest.fixture
def server(one_server: Server) -> Iterator[Server]:
    """The module's server, with nothing declared."""
    yield one_server
    for instance in one_server.store.instances.list():
        one_server.store.instances.request_deletion(instance.metadata.name)
        one_server.store.instances.purge(instance.metadata.uid)
    for repository in one_server.store.repositories.list():
        one_server.store.repositories.request_deletion(repository.metadata.name)
        one_server.store.repositories.purge(repository.metadata.uid)


# Module scope, not session: Playwright's synchronous API keeps an event loop running in this thread, in which no
# other module's test could use asyncio.run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "Chromium is missing: 'make setup' as root installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
NO_SESSION = "401 (Unauthorized)"


@dataclass
class Complaints:
    """What the browser complained about.

    Whenever somebody on this machine starts a container, Chromium ends what pages are loading. They load again by
    themselves; what scripts say that missed another one meanwhile is no complaint about us.
    """

    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    cut_off: bool = False

    @property
    def texts(self) -> list[str]:
        return self.said if self.cut_off else self.said + self.failed

    def note(self, message: ConsoleMessage) -> None:
        self.cut_off |= NETWORK_CHANGED in message.text
        # The sign-in page asks whether there is a session.
        expected = any(text in message.text for text in (NETWORK_CHANGED, NO_SESSION))
        if message.type in {"error", "warning"} and not expected:
            self.said.append(message.text)

    def fail(self, error: Error) -> None:
        self.failed.append(str(error))


def watch_for_complaints(page: Page) -> Complaints:
    complaints = Complaints()
    page.on("console", complaints.note)
    page.on("pageerror", complaints.fail)
    return complaints


def sign_in(page: Page, server: Server) -> None:
    """Sign in the way ``cco dashboard`` offers."""
    visit(page, f"{server.url}/login#token={server.token}")
    page.wait_for_url(f"{server.url}/", timeout=20_000)


def visit(page: Page, url: str) -> None:
    """Open a page; pages load again by themselves when the machine's network changes, a first request does not."""
    for attempt in range(3):
        try:
            page.goto(url)
        except Error as error:
            if NETWORK_CHANGED not in str(error) or attempt == 2:
                raise
        else:
            return


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=server.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Iterator[Page]:
    """A signed-in page; the test fails if the browser complained, which includes breaches of the content policy."""
    page = context.new_page()
    complaints = watch_for_complaints(page)
    sign_in(page, server)
    yield page
    assert complaints.texts == []
