"""The elements the pages are made of: native HTML with our own style, and nine small Vue components.

NiceGUI's stock inputs, dialogs and links carry Vue templates that are compiled in the browser, which needs
``unsafe-eval`` in the page's content security policy. These do not, so the policy (:mod:`.policy`) forbids it.
Every text goes through Vue's text interpolation and is inert, whoever wrote it; nothing here takes HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.events import GenericEventArguments, Handler

Values = Mapping[str, str]


def box(classes: str = "", tag: str = "div") -> ui.element:
    """Return a container; used with ``with``."""
    return ui.element(tag).classes(classes)


class Text(TextElement):
    """A native element with nothing but text in it."""

    def __init__(self, text: str = "", classes: str = "", tag: str = "span") -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes)

    def show(self, text: str, *, title: str | None = None) -> None:
        """Patch the text, and the tooltip when one is given; equal values send nothing."""
        if text != self.text:
            self.set_text(text)
        if title is not None and title != self.props.get("title"):
            self.props["title"] = title


class Link(Text):
    """A link within the dashboard; ``href`` is ours, never an agent's."""

    def __init__(self, text: str, href: str, classes: str = "") -> None:
        super().__init__(text, classes, tag="a")
        self.props["href"] = href


def icon(name: str, classes: str = "") -> ui.element:
    """Return a decoration drawn by ``icons.css`` in the colour of the text around it."""
    element = ui.element("span").classes(f"icon icon-{name} {classes}")
    element.props["aria-hidden"] = "true"
    return element


class Button(ui.element):
    """A native button.

    Args:
        text: what it says; with ``icon_only`` it is the accessible name and the tooltip instead.
        kind: ``plain``, ``primary``, ``danger`` or ``quiet``.
        on_click: without it the button submits the form it is in.
    """

    def __init__(
        self,
        text: str,
        *,
        icon_name: str | None = None,
        kind: str = "plain",
        icon_only: bool = False,
        on_click: Handler[GenericEventArguments] | None = None,
    ) -> None:
        super().__init__("button")
        self.props["type"] = "button" if on_click is not None else "submit"
        self.classes(f"button {kind}{' square' if icon_only else ''}")
        with self:
            self._icon = icon(icon_name) if icon_name else None
            self._label = None if icon_only else Text(text)
        self._icon_name = icon_name
        if icon_only:
            self.props["aria-label"] = self.props["title"] = text
        if on_click is not None:
            self.on("click", on_click, [])

    def show(self, text: str, icon_name: str) -> None:
        """Patch what the button says and its icon."""
        if self._label is not None:
            self._label.show(text)
        elif self.props["aria-label"] != text:
            self.props["aria-label"] = self.props["title"] = text
        if self._icon is not None and icon_name != self._icon_name:
            self._icon.classes(remove=f"icon-{self._icon_name}", add=f"icon-{icon_name}")
            self._icon_name = icon_name


def milliseconds(at: datetime | None) -> int | None:
    """Return the instant as JavaScript counts it."""
    return int(at.timestamp() * 1000) if at is not None else None


class Since(ui.element, component="components/since.js", dependencies=["components/lib/relative_time.js"]):
    """How long ago something was; the browser keeps it current."""

    def __init__(self, at: datetime | None) -> None:
        super().__init__()
        self.props["at"] = milliseconds(at)

    def show(self, at: datetime | None) -> None:
        """Patch the instant; ``None`` shows nothing."""
        if (value := milliseconds(at)) != self.props["at"]:
            self.props["at"] = value


class Meter(ui.element):
    """A thin bar that fills from 0 to 1; one that ``warns`` changes its colour when little is left."""

    def __init__(self, label: str, *, warns: bool = False) -> None:
        super().__init__("progress")
        self._warns = warns
        self.classes("meter")
        self.props.update({"max": 100, "value": 0, "aria-label": label})

    def show(self, share: float) -> None:
        """Patch the filled part."""
        value = round(share * 100)
        if value == self.props["value"]:
            return
        self.props["value"] = value
        if self._warns:
            self.classes(add="high") if value >= 85 else self.classes(remove="high")


class Row(
    ui.element,
    component="components/instance_row.js",
    dependencies=["components/lib/relative_time.js", "components/lib/menu.js"],
):
    """One instance in the fleet: a single element with a single property, because a hundred change every second.

    What is picked in it bubbles up as a ``pick`` event with ``name`` and ``action`` in its ``detail``.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__()
        self.mark(f"row-{name}")
        self.props["row"] = text

    def show(self, text: str) -> None:
        """Patch the row; equal texts send nothing."""
        if text != self.props["row"]:
            self.props["row"] = text


class Modal(ui.element, component="components/modal.js"):
    """A modal dialog; closed by Escape, by a click beside it or by :meth:`close`."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.props.update({"label": label, "open": False})
        self.on("dismiss", self.close, [])

    def open(self) -> None:
        """Show it and move the focus into it."""
        self.props["open"] = True

    def close(self) -> None:
        """Hide it; the browser returns the focus to where it was."""
        self.props["open"] = False


class Form(ui.element, component="components/form.js"):
    """A native form; ``on_send`` gets all its values at once, Ctrl+Enter sends too."""

    def __init__(self, on_send: Callable[[Values], Any]) -> None:
        super().__init__()
        self.props.update({"clears": 0, "busy": False})
        self.on("send", lambda event: on_send(_as_values(event.args)))

    def empty(self) -> None:
        """Return every field to its first value."""
        self.props["clears"] += 1

    def busy(self, busy: bool) -> None:  # noqa: FBT001 - a state to be in, read as one at the call
        """Refuse a second submission while the first is under way."""
        self.props["busy"] = busy


def _as_values(arguments: object) -> Values:
    # Comes from a browser: anything may be in it, and only text fields are ours.
    if not isinstance(arguments, dict):
        return {}
    return {str(name): value for name, value in arguments.items() if isinstance(value, str)}


class Copyable(ui.element, component="components/copyable.js"):
    """A command or path with a button that copies it."""

    def __init__(self, text: str, label: str) -> None:
        super().__init__()
        self.props.update({"text": text, "label": label})

    def show(self, text: str) -> None:
        """Patch the text."""
        if text != self.props["text"]:
            self.props["text"] = text


class SearchBox(ui.element, component="components/search_box.js"):
    """A search field; ``on_search`` gets the text when typing pauses."""

    def __init__(self, label: str, on_search: Callable[[str], Any]) -> None:
        super().__init__()
        self.props.update({"label": label, "clears": 0})
        self.on("search", lambda event: on_search(str(event.args)[:200]))

    def clear_text(self) -> None:
        """Empty the field."""
        self.props["clears"] += 1


class ThemeToggle(ui.element, component="components/theme_toggle.js"):
    """A button that goes round automatic, light and dark."""


class SignOut(ui.element, component="components/sign_out.js"):
    """A button that ends the browser's session."""


class PageTitle(ui.element, component="components/page_title.js"):
    """The title of the browser's tab."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.props["text"] = text

    def show(self, text: str) -> None:
        """Patch the title."""
        if text != self.props["text"]:
            self.props["text"] = text


COMPONENTS: tuple[type[ui.element], ...] = (
    Copyable,
    Form,
    Modal,
    PageTitle,
    Row,
    SearchBox,
    SignOut,
    Since,
    ThemeToggle,
)
"""Those with a half in the browser."""
