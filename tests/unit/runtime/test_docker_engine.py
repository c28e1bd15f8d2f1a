"""What an engine's connection remembers between threads; no engine is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from controller.runtime.docker.engine import Engine
from support.deadline import eventually

LONGEST_SECONDS = 10.0


def test_the_removal_of_what_failed_to_be_made_is_an_echo() -> None:
    engine = Engine()
    with engine.making("u1"):
        assert engine.is_echo("u1")
    assert not engine.is_echo("u1"), "it was made"
    with pytest.raises(OSError, match="no space"), engine.making("u1"):
        raise OSError("no space")
    assert engine.is_echo("u1")
    assert not engine.is_echo("u2")


class Interrupted(str):
    """A uid that lets something else happen in the middle of a change."""

    __slots__ = ("meanwhile",)
    meanwhile: Callable[[], object]

    def __hash__(self) -> int:
        self.meanwhile()
        return super().__hash__()


def test_what_is_made_while_another_begins_is_made() -> None:
    engine = Engine()
    ending = threading.Event()

    def make() -> None:
        with engine.making("u1"):
            ending.wait(LONGEST_SECONDS)

    thread = threading.Thread(target=make)
    thread.start()
    eventually(lambda: engine.is_echo("u1"), timeout=LONGEST_SECONDS, what="its beginning")

    def end() -> None:
        ending.set()
        thread.join(0.2)

    other = Interrupted("u2")
    other.meanwhile = end
    with engine.making(other):
        thread.join(LONGEST_SECONDS)
        assert not engine.is_echo("u1")
