"""What all pages share: assets, the bar at the top, and how a page follows the feed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nicegui
from nicegui import ui

from .feed import Changes, Feed
from .health import Health, PartHealth
from .parts import COMPONENTS, SignOut, Text, ThemeToggle, box

STATIC = Path(__file__).parent / "static"
STYLES = ("base", "widgets", "icons", "frame", "fleet", "instance")


def head_html(assets: str) -> str:
    """Return what every page has in its ``<head>``; our own constant text, nothing else may get in."""
    base = f"/_nicegui/{nicegui.__version__}/components"
    # Loaded with the page also where no element needs it yet: an import that fails later leaves a hole in the page.
    components = "".join(
        f'<link rel="modulepreload" href="{base}/{element.component.key}">'
        for element in COMPONENTS
        if element.component is not None
    )
    links = "".join(f'<link rel="stylesheet" href="{assets}/{name}.css">' for name in STYLES)
    fonts = f'<link rel="preload" href="{assets}/fonts/geist.woff2" as="font" type="font/woff2" crossorigin>'
    scripts = "".join(f'<script src="{assets}/{name}.js"></script>' for name in ("reload", "theme"))
    return f"{scripts}{fonts}{links}{components}"


def header(feed: Feed) -> None:
    """Put the bar at the top of the page."""
    # NiceGUI wraps everything in Quasar's page, which is a <main>; ours begins below the bar.
    if (slot := ui.context.client.content.parent_slot) is not None:
        slot.parent.tag = "div"
    with box("bar", "header"):
        with ui.element("a").classes("brand") as brand:
            brand.props["href"] = "/"
            box("logo", "span").props["aria-hidden"] = "true"
            Text("cc-orchestrator")
        with box("bar-end"):
            lamps = {name: _Lamp(name.capitalize()) for name in ("controller", "engine")}
            ThemeToggle()
            SignOut()

    def show(health: Health) -> None:
        lamps["controller"].show(health.controller)
        lamps["engine"].show(health.engine)

    show(feed.health)
    follow(feed, lambda changes: show(feed.health) if changes.health else None)


class _Lamp:
    """A word with a dot: green, red, or grey while nothing is known."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tone = "unknown"
        with box("lamp state-unknown") as self._root:
            box("dot", "span")
            Text(name, "lamp-name")
            self._word = Text("", "unseen")

    def show(self, health: PartHealth) -> None:
        tone = {True: "running", False: "error", None: "unknown"}[health.healthy]
        if tone != self._tone:
            self._root.classes(remove=f"state-{self._tone}", add=f"state-{tone}")
            self._tone = tone
        if self._root.props.get("title") != health.sentence:
            self._root.props["title"] = health.sentence
        self._word.show({True: "is healthy", False: "is unhealthy", None: "is not known"}[health.healthy])


def follow(feed: Feed, listener: Callable[[Changes], None]) -> None:
    """Call the listener with every batch of changes for as long as this page lives."""
    unsubscribe = feed.subscribe(listener)
    ui.context.client.on_delete(unsubscribe)
