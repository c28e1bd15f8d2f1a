"""Puts the pages on the server.

``ui.server`` composes: the API's application, with the pages of this module in it, and around both the checks of
host, origin and login. Whoever gets here has been let in; :mod:`.policy` adds what browsers must know.
"""

from __future__ import annotations

import hashlib
from typing import Any

import nicegui
from nicegui import ui

from api.client import Client

from . import frame
from .commands import Commands
from .feed import Feed
from .fleet import FleetPage
from .instance import InstancePage
from .login import LoginPage
from .parts import Link, Text, box

ASSETS = "/assets/"
"""Below it lie style sheets, scripts and fonts: the same for everybody, and needed before anybody signed in."""

TITLE = "cc-orchestrator"
RECONNECT_SECONDS = 10.0
"""How long a page whose connection broke (a phone asleep) is kept for its viewer."""


def assets_path() -> str:
    """Return where the static files are served: a path that changes with them, so browsers may keep them."""
    digest = hashlib.sha256()
    for path in sorted(frame.STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return f"{ASSETS}{digest.hexdigest()[:12]}"


class Dashboard:
    """The pages, for one process; NiceGUI keeps them in a global of its own.

    Attributes:
        feed: started with the server; :meth:`Feed.stop` may be called earlier than its end.
    """

    def __init__(self, client: Client) -> None:
        self.feed = Feed(client)
        self._client = client
        self._commands = Commands(client)

    def register(self) -> None:
        """Tell NiceGUI about pages, files and the feed; once, before the server starts."""
        assets = assets_path()
        nicegui.app.add_static_files(assets, frame.STATIC, max_cache_age=365 * 24 * 3600)
        nicegui.app.add_route("/login", LoginPage(assets).show, methods=["GET"], include_in_schema=False)
        nicegui.app.on_page_exception(self._broken)
        ui.add_head_html(frame.head_html(assets), shared=True)
        ui.page("/", title=f"Fleet · {TITLE}")(self._fleet)
        ui.page("/instances/{name}", title=TITLE)(self._instance)
        nicegui.app.config.quasar_config["loadingBar"]["skipHijack"] = True  # no bar for every request of a page
        nicegui.app.on_startup(self.feed.start)
        nicegui.app.on_shutdown(self.feed.stop)

    def _fleet(self) -> None:
        FleetPage(self.feed, self._commands)

    def _instance(self, name: str) -> None:
        InstancePage(self.feed, self._client, self._commands, name)

    def _missing(self) -> None:
        ui.context.client.status_code = 404
        ui.context.client.title = f"Not found · {TITLE}"
        frame.header(self.feed)
        with box("page", "main"), box("nothing panel"):
            Text("There is nothing here", tag="h2")
            Text("The address does not belong to any page.", "soft", tag="p")
            Link("Go to the fleet", "/", "button")

    def _broken(self) -> None:
        ui.context.client.title = f"Error · {TITLE}"
        frame.header(self.feed)
        with box("page", "main"), box("nothing panel"):
            Text("This page could not be shown", tag="h2")
            Text("The server's log says why: docker compose logs server", "soft", tag="p")
            Link("Go to the fleet", "/", "button")

    def run_options(self) -> dict[str, Any]:
        """Return what ``ui.run_with`` is to be told; here, because it belongs to the pages."""
        return {
            "root": self._missing,
            "title": TITLE,
            "favicon": frame.STATIC / "favicon.svg",
            "language": "en-US",
            "tailwind": False,  # compiles style sheets in the browser; ours are written by hand
            "gzip_middleware_factory": None,  # compresses too early: the policy has to read the page
            "reconnect_timeout": RECONNECT_SECONDS,
            "binding_refresh_interval": None,  # nothing is bound; pages patch what changed
            "show_welcome_message": False,
        }
