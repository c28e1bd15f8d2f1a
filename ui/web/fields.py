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
        self._options: dict[str, Text] = {}
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
        """Change the options of a choice field to these; one that stays is not touched, so a choice survives."""
        wanted = dict(choices)
        for value in self._options.keys() - wanted.keys():
            self._options.pop(value).delete()
        for index, (value, text) in enumerate(wanted.items()):
            if value in self._options:
                continue
            with self.control:
                option = self._options[value] = Text(text, tag="option")
            option.props["value"] = value
            option.move(target_index=index)

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
