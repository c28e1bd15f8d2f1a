"""Label selectors, in Kubernetes' short notation: ``team=web,tier!=test,owner,!hidden``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Column, ColumnElement, or_


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Literal["=", "!=", "exists", "absent"]
    value: str = ""


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that all have to hold; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def equal(cls, labels: Mapping[str, str]) -> Selector:
        """Return the selector for objects that carry all these labels."""
        return cls(tuple(Requirement(key, "=", value) for key, value in labels.items()))

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read ``a=b``, ``a==b``, ``a!=b``, ``a`` and ``!a``, separated by commas.

        Raises:
            ValueError: a part is none of these.
        """
        return cls(tuple(_parse(part.strip()) for part in text.split(",") if part.strip()))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels fulfil every condition; as in Kubernetes ``!=`` holds for an absent label."""
        return all(_holds(requirement, labels) for requirement in self.requirements)

    def clauses(self, column: Column[Any]) -> list[ColumnElement[bool]]:
        """Return the same conditions for a JSON column."""
        return [_clause(requirement, column) for requirement in self.requirements]

    def __bool__(self) -> bool:
        return bool(self.requirements)


def _parse(part: str) -> Requirement:
    for sign, operator in (("!=", "!="), ("==", "="), ("=", "=")):
        key, found, value = part.partition(sign)
        if found:
            return Requirement(_key(key, part), operator, _word(value.strip(), part))  # type: ignore[arg-type]  # of the three above
    if part.startswith("!"):
        return Requirement(_key(part[1:], part), "absent")
    return Requirement(_key(part, part), "exists")


def _key(text: str, part: str) -> str:
    key = _word(text.strip(), part)
    if not key:
        raise ValueError(_explain(part))
    return key


def _word(text: str, part: str) -> str:
    if not all(character.isascii() and (character.isalnum() or character in "._/-") for character in text):
        raise ValueError(_explain(part))
    return text


def _explain(part: str) -> str:
    return f"{part!r} is not a label condition: write 'key=value', 'key!=value', 'key' or '!key', separated by commas"


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    match requirement.operator:
        case "=":
            return labels.get(requirement.key) == requirement.value
        case "!=":
            return labels.get(requirement.key) != requirement.value
        case "exists":
            return requirement.key in labels
        case "absent":
            return requirement.key not in labels


def _clause(requirement: Requirement, column: Column[Any]) -> ColumnElement[bool]:
    label: ColumnElement[str] = column[requirement.key].as_string()
    match requirement.operator:
        case "=":
            return label == requirement.value
        case "!=":
            return or_(label.is_(None), label != requirement.value)
        case "exists":
            return label.is_not(None)
        case "absent":
            return label.is_(None)
