"""Form fields: a label, a native control, a place for what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nicegui import ui

from .parts import Text, box

Choices = Sequence[tuple[str, str]]
"""Value and text of each option."""


class Field:
    """One labelled control; its value reaches the server with the form it is in."""

    def __init__(self, name: str, label: str, tag: str) -> None:
        self.name = name
        with box("field") as self._root:
            self.control = ui.element(tag).mark(f"field-{name}")
            error_id = f"{self.control.html_id}-error"
            self.control.props.update({"name": name, "aria-describedby": error_id})
            caption = ui.element("label")
            caption.props["for"] = self.control.html_id
            caption.move(target_index=0)
            with caption:
                Text(label)
            self._error = Text("", "error", tag="p").mark(f"error-{name}")
            self._error.props.update({"id": error_id, "role": "alert"})

    def wide(self) -> Field:
        """Take the whole width of the form."""
        self._root.classes("wide")
        return self

    def offer(self, choices: Iterable[tuple[str, str]]) -> None:
        """Replace the options of a choice field; equal ones stay as they are, with what is chosen."""
        wanted = list(choices)
        if wanted == getattr(self, "_choices", None):
            return
        self._choices = wanted
        self.control.clear()
        with self.control:
            for value, text in wanted:
                Text(text, tag="option").props["value"] = value

    def complain(self, message: str) -> None:
        """Show what is wrong with the value; an empty message takes it away."""
        self._error.show(message)
        invalid = str(bool(message)).lower()
        if self.control.props.get("aria-invalid", "false") != invalid:
            self.control.props["aria-invalid"] = invalid


def text_field(name: str, label: str, *, placeholder: str = "", focus: bool = False) -> Field:
    """Return a one-line field; ``focus`` gives it the focus when its dialog opens."""
    field = Field(name, label, "input")
    field.control.props.update({"type": "text", "placeholder": placeholder, "spellcheck": "false"})
    field.control.props.update({"autocapitalize": "none"})
    if focus:
        field.control.props["data-focus"] = ""
    return field


def text_area(name: str, label: str, *, placeholder: str = "", rows: int = 4) -> Field:
    """Return a field for longer text."""
    field = Field(name, label, "textarea")
    field.control.props.update({"rows": rows, "placeholder": placeholder})
    return field


def choice_field(name: str, label: str, choices: Choices) -> Field:
    """Return a choice among fixed values."""
    field = Field(name, label, "select")
    field.offer(choices)
    return field
