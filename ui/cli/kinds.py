"""The words for kinds on the command line: singular, plural and short; and ``KIND/NAME``."""

from __future__ import annotations

import difflib
from enum import StrEnum
from typing import NamedTuple

import typer


class KindName(StrEnum):
    """A kind of object the command line knows; the value is its singular word."""

    INSTANCE = "instance"
    REPOSITORY = "repository"
    EVENT = "event"


WORDS: dict[str, KindName] = {
    "instance": KindName.INSTANCE,
    "instances": KindName.INSTANCE,
    "inst": KindName.INSTANCE,
    "i": KindName.INSTANCE,
    "repository": KindName.REPOSITORY,
    "repositories": KindName.REPOSITORY,
    "repo": KindName.REPOSITORY,
    "repos": KindName.REPOSITORY,
    "r": KindName.REPOSITORY,
    "event": KindName.EVENT,
    "events": KindName.EVENT,
    "ev": KindName.EVENT,
}


class Target(NamedTuple):
    """One object by kind and name."""

    kind: KindName
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def parse_kind(word: str, *, events: bool = False) -> KindName:
    """Return the kind a word means; ``events`` says whether events make sense here.

    Raises:
        BadParameter: naming the nearest word.
    """
    kind = WORDS.get(word.lower())
    allowed = [name for name, each in WORDS.items() if events or each is not KindName.EVENT]
    if kind is None or (kind is KindName.EVENT and not events):
        near = difflib.get_close_matches(word.lower(), allowed, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"write one of {', '.join(_plurals(events=events))}"
        raise typer.BadParameter(f"{word!r} is not a kind; {hint}", param_hint="KIND")
    return kind


def parse_target(text: str) -> Target:
    """Return the object that ``KIND/NAME`` means; a bare ``NAME`` means an instance."""
    kind, slash, name = text.partition("/")
    if not slash:
        return Target(KindName.INSTANCE, text)
    if not name or "/" in name:
        raise typer.BadParameter(f"{text!r} is not KIND/NAME; write for example 'instance/web'", param_hint="KIND/NAME")
    return Target(parse_kind(kind), name)


def parse_targets(words: list[str]) -> list[Target]:
    """Return the objects that ``KIND NAME...`` or ``KIND/NAME...`` mean."""
    if not words:
        return []
    if "/" in words[0]:
        return [parse_target(word) for word in words]
    kind = parse_kind(words[0])
    if len(words) == 1:
        raise typer.BadParameter(f"name at least one {kind}", param_hint="NAME")
    return [Target(kind, word) for word in words[1:]]


def _plurals(*, events: bool) -> list[str]:
    return ["instances", "repositories", *(["events"] if events else [])]
