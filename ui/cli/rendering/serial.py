"""Objects as JSON, YAML and names, for programs and for ``apply``. Fields that are not set are left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from controller.resources import Event, Instance, Repository

Object = Instance | Repository | Event


def as_data(thing: Object) -> dict[str, Any]:
    """Return an object as plain values, as the API writes it."""
    return thing.model_dump(mode="json", exclude_none=True)


def as_list(things: Sequence[Object]) -> dict[str, Any]:
    """Return several objects as a ``kind: List``, which ``apply`` reads too."""
    return {"kind": "List", "items": [as_data(thing) for thing in things]}


def to_json(data: object, *, compact: bool = False) -> str:
    """Return JSON; ``compact`` is one line, for streams."""
    if compact:
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return json.dumps(data, ensure_ascii=False, indent=2)


def to_yaml(data: object) -> str:
    """Return YAML without a final line break."""
    from .yaml_text import dump  # noqa: PLC0415  # a table needs no YAML, and it takes long to load

    return dump(data)


def name_of(thing: Object) -> str:
    """Return ``kind/name``."""
    if isinstance(thing, Event):
        return f"event/{thing.id}"
    return f"{thing.kind.lower()}/{thing.metadata.name}"
