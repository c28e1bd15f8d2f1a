"""Takes the picture of the dashboard that the README shows: ``PYTHONPATH=.:tests python -m support.picture``.

A real server and browser show a fleet that nobody runs; a test keeps this working.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from controller.resources import ConditionStatus, EventType, OperatingMode, SessionState

from .fleet import MiB, Report, controller_socket, declare, register, report, tell
from .web_server import ROOT, Server, start_server, stop_server

PICTURE = ROOT / "docs" / "images" / "dashboard.png"
WIDE: ViewportSize = {"width": 1280, "height": 850}

WORKING, WAITING, IDLE = SessionState.WORKING, SessionState.WAITING, SessionState.IDLE

LOGIN = "the login has expired: run 'claude setup-token' and set CLAUDE_CODE_OAUTH_TOKEN"

# name, repository, branch, age in minutes, what was seen
FLEET = (
    (
        "api-pagination",
        "platform-api",
        "feature/cursor-pagination",
        47,
        Report(WORKING, cpu_percent=34, memory=512 * MiB),
    ),
    (
        "checkout-flow",
        "shop",
        "feature/guest-checkout",
        96,
        Report(WORKING, tool="Bash", cpu_percent=87, memory=642 * MiB, ahead=4, seconds=12),
    ),
    ("dark-mode", "handbook", "feature/dark-mode", 71, Report(WAITING, waiting_for="input needed", memory=290 * MiB)),
    ("docs-search", "handbook", "docs/search", 2 * 1440, Report(IDLE, memory=301 * MiB, ahead=2, seconds=1900)),
    (
        "fix-login",
        "shop",
        "fix/login-redirect",
        128,
        Report(WAITING, tool="Bash", waiting_for="permission prompt", cpu_percent=1, memory=388 * MiB, seconds=95),
    ),
    (
        "flaky-tests",
        "platform-api",
        "chore/flaky-integration-tests",
        203,
        Report(WORKING, tool="Edit", cpu_percent=62, memory=1833 * MiB, ahead=7, seconds=41),
    ),
    (
        "migrate-pg",
        "platform-api",
        "feature/postgres-17",
        0,
        Report(
            None,
            ready=ConditionStatus.FALSE,
            reason="StartingWorkload",
            message="starting the container cco-migrate-pg-1",
            seconds=3,
        ),
    ),
    (
        "perf-cart",
        "shop",
        "perf/cart-totals",
        4 * 1440,
        Report(None, ready=ConditionStatus.FALSE, reason="Suspended", seconds=86400),
    ),
    (
        "upgrade-deps",
        "shop",
        "chore/upgrade-dependencies",
        52,
        Report(None, ready=ConditionStatus.FALSE, reason="LoginExpired", message=LOGIN, seconds=300),
    ),
)

EVENTS = (
    ("WorkspaceCreated", "made the worktree and the branch feature/guest-checkout from main", EventType.NORMAL),
    ("WorkloadCreated", "created the container cco-checkout-flow-1", EventType.NORMAL),
    ("SessionUp", "Claude Code is up", EventType.NORMAL),
    ("OutOfMemory", "a process was killed: 2 GiB is not enough; raise spec.resources.memory", EventType.WARNING),
    ("CommitsCollected", "brought 4 commits home", EventType.NORMAL),
)


def fill(server: Server) -> None:
    """Declare the fleet and report on it."""
    for repository in ("handbook", "platform-api", "shop"):
        register(server.client, server.store, repository)
    for name, repository, branch, minutes, seen in FLEET:
        mode = OperatingMode.SUSPENDED if seen.reason == "Suspended" else OperatingMode.RUNNING
        prompt = "Let guests pay without an account.\nKeep the old route working."
        declare(server.client, name, repository, branch=branch, operating_mode=mode, prompt=prompt)
        _age(server.state / "state.db", name, minutes)
        report(server.store, name, seen)
    for reason, message, type_ in EVENTS:
        tell(server.store, "checkout-flow", reason, message, type_)


def _age(database: Path, name: str, minutes: int) -> None:
    # The store rightly offers no way to lie about when something was declared.
    made = datetime.now(UTC) - timedelta(minutes=minutes)
    with closing(sqlite3.connect(database)) as connection, connection:
        (now,) = connection.execute("SELECT created_at FROM instances WHERE name = ?", (name,)).fetchone()
        text = made.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(now, str) else made.timestamp()
        connection.execute("UPDATE instances SET created_at = ? WHERE name = ?", (text, name))


def open_page(browser: Browser, server: Server, theme: Literal["light", "dark"], viewport: ViewportSize) -> Page:
    """Return a signed-in page with the whole fleet on it."""
    context = browser.new_context(viewport=viewport, color_scheme=theme, device_scale_factor=2)
    page = context.new_page()
    page.goto(f"{server.url}/login#token={server.token}")
    expect(page.get_by_role("link", name=FLEET[-1][0], exact=True)).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Controller", exact=True).locator("..")).to_have_attribute(
        "title", "The controller answers"
    )
    page.evaluate("document.fonts.ready.then(() => true)")
    return page


def take_picture(page: Page, path: Path) -> None:
    """Save what the page shows, in rest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, animations="disabled", caret="hide")


def main(path: Path) -> None:
    """Write the README's picture."""
    chromium = shutil.which("chromium")
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_server(Path(folder))
        try:
            with controller_socket(server.state / "controller.sock", server.store):
                fill(server)
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                take_picture(open_page(browser, server, "light", WIDE), path)
                browser.close()
        finally:
            stop_server(server)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
