"""Looks run side by side; one that hangs, breaks or cannot know holds nobody up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from controller.doctor.examination import Examiner, Finding, Shared, failed, notable, well
from controller.errors import Unavailable
from controller.resources.check import CheckStatus, Fixer
from support.deadline import eventually


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_findings_come_in_the_order_of_the_catalogue_with_their_groups() -> None:
    looks = [
        ("events", lambda: notable("three warnings", "cco events")),
        ("token", lambda: failed("open to all", "chmod 600 token", Fixer.CLIENT)),
        ("engine", lambda: well("answers")),
    ]
    token, engine, events = Examiner().examine(looks)
    assert (token.name, token.group, token.status) == ("token", "This machine", CheckStatus.FAIL)
    assert (token.fix, token.fixable_by) == ("chmod 600 token", Fixer.CLIENT)
    assert (engine.name, engine.status, engine.fix) == ("engine", CheckStatus.OK, None)
    assert (events.group, events.status) == ("Fleet", CheckStatus.WARN)


def test_what_does_not_exist_is_left_out() -> None:
    assert Examiner().examine([("database", lambda: None)]) == ()


def test_a_look_that_hangs_is_unknown_and_the_others_are_told(released: threading.Event) -> None:
    def hang() -> Finding:
        released.wait(10)
        return well("at last")

    began = time.monotonic()
    engine, disk = Examiner(0.2).examine([("engine", hang), ("disk", lambda: well("enough"))])
    assert time.monotonic() - began < 5
    assert (engine.status, disk.status) == (CheckStatus.UNKNOWN, CheckStatus.OK)
    assert "longer than 0.2 s" in engine.message


def test_a_look_that_hangs_is_not_repeated_until_it_has_come_back(released: threading.Event) -> None:
    calls = []

    def hang() -> Finding:
        calls.append(1)
        released.wait(10)
        return well("at last")

    examiner = Examiner(0.1)
    for _ in range(3):
        (check,) = examiner.examine([("engine", hang)])
        assert check.status is CheckStatus.UNKNOWN
    assert "has not come back" in check.message
    assert len(calls) == 1
    released.set()
    eventually(
        lambda: examiner.examine([("engine", hang)])[0].status is CheckStatus.OK, timeout=10, what="it came back"
    )


def test_a_look_that_cannot_know_or_breaks_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    def unable() -> Finding:
        raise Unavailable("RuntimeUnavailable", "the engine does not answer: start it")

    def broken() -> Finding:
        raise ZeroDivisionError("by nothing")

    with caplog.at_level(logging.ERROR, "controller.doctor"):
        engine, disk = Examiner().examine([("engine", unable), ("disk", broken)])
    assert (engine.status, engine.message) == (CheckStatus.UNKNOWN, "the engine does not answer: start it")
    assert disk.status is CheckStatus.UNKNOWN
    assert "ZeroDivisionError" in disk.message
    assert [record.message for record in caplog.records] == ["check broke"]


def test_a_check_that_nobody_explains_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="weather"):
        Examiner().examine([("weather", lambda: well("sunny"))])


def test_a_shared_value_is_asked_for_once() -> None:
    calls = []

    def ask() -> int:
        calls.append(1)
        return 7

    shared = Shared(ask)
    assert calls == []
    assert [shared.get(), shared.get(), shared.peek(0)] == [7, 7, 7]
    assert len(calls) == 1


def test_a_shared_value_that_cannot_be_had_is_everybodys_error() -> None:
    def ask() -> int:
        raise Unavailable("RuntimeUnavailable", "gone")

    shared = Shared(ask)
    for _ in range(2):
        with pytest.raises(Unavailable, match="gone"):
            shared.get()
    assert shared.peek(1) is None


def test_a_glance_at_a_shared_value_does_not_wait_for_ever(released: threading.Event) -> None:
    shared = Shared(lambda: released.wait(10))
    assert shared.peek(0.05) is None
    released.set()
    assert shared.get() is True
