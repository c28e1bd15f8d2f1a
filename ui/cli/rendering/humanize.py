"""Numbers and instants as people read them; every function is pure."""

from __future__ import annotations

from datetime import datetime, timedelta

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400
_UNITS = ("", "Ki", "Mi", "Gi", "Ti")


def duration(span: timedelta) -> str:
    """Return a span with at most two units and about two digits, as kubectl does: ``45s``, ``3m10s``, ``5d``."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 10 * _MINUTE:
        return _two(seconds, _MINUTE, "m", 1, "s")
    if seconds < 3 * _HOUR:
        return f"{seconds // _MINUTE}m"
    if seconds < 8 * _HOUR:
        return _two(seconds, _HOUR, "h", _MINUTE, "m")
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR}h"
    if seconds < 8 * _DAY:
        return _two(seconds, _DAY, "d", _HOUR, "h")
    if seconds < 2 * _YEAR:
        return f"{seconds // _DAY}d"
    return f"{seconds // _YEAR}y"


def age(instant: datetime | None, now: datetime) -> str:
    """Return how long ago something was; ``-`` when it never was."""
    return duration(now - instant) if instant is not None else "-"


def quantity(number: int) -> str:
    """Return bytes with three digits at most and a binary unit: ``412Mi``, ``1.5Gi``."""
    value, unit = float(number), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    text = f"{value:.1f}" if unit and value < 10 else f"{value:.0f}"
    return text.removesuffix(".0") + _UNITS[unit]


def percent(value: float) -> str:
    """Return a share of one core: ``0%``, ``3%``, ``150%``; a little is shown as ``<1%`` and not as nothing."""
    if 0 < value < 1:
        return "<1%"
    return f"{value:.0f}%"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 instance``, ``2 instances``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _two(seconds: int, big: int, big_unit: str, small: int, small_unit: str) -> str:
    rest = seconds % big // small
    return f"{seconds // big}{big_unit}" + (f"{rest}{small_unit}" if rest else "")
