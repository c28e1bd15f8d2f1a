"""The page of settings names every setting with its variable and its default, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from controller.credentials import NAMES
from controller.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs/reference/settings.md").read_text(encoding="utf-8")
ROWS = {
    key: (variable, default)
    for key, variable, default in re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \|", PAGE, flags=re.MULTILINE)
}


def test_every_setting_has_its_row_in_order() -> None:
    assert list(ROWS) == list(Settings.model_fields)


def test_each_row_names_the_variable() -> None:
    assert {key: variable for key, (variable, _) in ROWS.items()} == {key: f"CCO_{key.upper()}" for key in ROWS}


def test_plain_defaults_are_those_of_the_code() -> None:
    for key, (_, told) in ROWS.items():
        field = Settings.model_fields[key]
        if field.default_factory is not None or field.default is None:
            continue
        default = ",".join(field.default) if isinstance(field.default, tuple) else f"{field.default}"
        if isinstance(field.default, float):
            default = f"{field.default:g}"
        assert told == f"`{default}`", key


def test_the_credentials_are_named() -> None:
    assert all(f"`{name}`" in PAGE for name in NAMES)
