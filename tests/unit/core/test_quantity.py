"""Amounts of memory: exact in both directions, and as short as they are exact."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from controller.resources.quantity import Bytes, format_bytes, parse_bytes

GiB = 1024**3


@given(st.integers(0, 2**60))
@settings(derandomize=True, database=None)
def test_what_is_written_is_what_is_read(value: int) -> None:
    text = format_bytes(value)
    assert parse_bytes(text) == value
    assert TypeAdapter(Bytes).validate_json(TypeAdapter(Bytes).dump_json(value)) == value


@given(st.integers(1, 10**9), st.sampled_from(["", "k", "Ki", "MiB", "g", "Ti"]), st.integers(0, 99))
@settings(derandomize=True, database=None)
def test_fractions_are_exact_to_the_byte(whole: int, unit: str, hundredths: int) -> None:
    exponent = "kmgt".index(unit[0].lower()) + 1 if unit else 0
    exact = Fraction(whole * 100 + hundredths, 100) * 1024**exponent
    assert parse_bytes(f"{whole}.{hundredths:02}{unit}") == int(exact)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1, "1"), (1023, "1023"), (1024, "1Ki"), (1536, "1536"), (2 * GiB, "2Gi"), (1024**5, "1024Ti")],
)
def test_an_amount_is_written_as_short_as_it_is_exact(value: int, text: str) -> None:
    assert format_bytes(value) == text
