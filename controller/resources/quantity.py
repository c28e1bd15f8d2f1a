"""Byte quantities as people write them: ``512Mi``, ``2g``, ``1.5GiB``, ``1073741824``."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_QUANTITY = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(?:([kmgt])i?)?b?", re.IGNORECASE)
_EXPONENT = {None: 0, "k": 1, "m": 2, "g": 3, "t": 4}
_UNITS = ("", "Ki", "Mi", "Gi", "Ti")


def parse_bytes(value: object) -> int:
    """Return the number of bytes; units are binary, as ``docker run --memory`` reads them.

    Raises:
        ValueError: the text is not a quantity.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        msg = f"{value!r} is not an amount of bytes: write for example '512Mi', '2Gi' or '2g'"
        raise ValueError(msg)
    number, unit = match.groups()
    return int(Fraction(number) * 1024 ** _EXPONENT[unit and unit.lower()])


def format_bytes(value: int) -> str:
    """Return the shortest exact text, ``2Gi`` for 2147483648; the inverse of :func:`parse_bytes`."""
    power = 0
    while power < len(_UNITS) - 1 and value and value % 1024 == 0:
        value //= 1024
        power += 1
    return f"{value}{_UNITS[power]}"


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    PlainSerializer(format_bytes, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["512Mi", "2Gi"]}),
]
