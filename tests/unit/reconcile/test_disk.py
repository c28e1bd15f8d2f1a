"""The watch over the disk: whom it parks, when it holds starts, and that a look that fails costs nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.agents import Heard, Report
from controller.errors import Unavailable
from controller.reconcile import disk
from controller.reconcile.disk import DiskWatch, Occupant, choose
from controller.reconcile.observed import DiskVerdict
from controller.space import Space
from support.deadline import eventually

GIBIBYTE = 1024**3
MARK = 0.9
HUNDRED = 100 * GIBIBYTE


def heard(held: int, free: int | None, *, connected: bool = True) -> Heard:
    usage = {"worktree_bytes": held, "disk_total_bytes": HUNDRED, "disk_free_bytes": free}
    report = {
        "type": "report",
        "schema": 1,
        "uid": "u",
        "attempt": 1,
        "boot": "b",
        "seq": 1,
        "sent_at": "2026-01-01T00:00:00Z",
        "config_hash": "h",
        "session": {"state": "idle", "since": "2026-01-01T00:00:00Z"},
        "usage": usage if free is not None else {},
    }
    return Heard(Report.model_validate(report), 0.0, connected, frozenset())


class Fleet:
    """Agents that say how much they hold."""

    def __init__(self) -> None:
        self.agents: dict[str, Heard] = {}
        self.now = 0.0
        self.woken: list[str] = []
        self.error: Exception | None = None

    def all_heard(self) -> dict[str, Heard]:
        if self.error is not None:
            raise self.error
        return dict(self.agents)

    def watch(self, *places: Path, name_of: Callable[[str], str | None] = str.lower) -> DiskWatch:
        links: Any = self
        return DiskWatch(links, name_of, places, MARK, self.woken.append, clock=lambda: self.now)


def test_the_one_that_grew_most_is_chosen_and_else_the_largest() -> None:
    full = Space(HUNDRED, GIBIBYTE)
    fleet = {"A": Occupant(50, full), "B": Occupant(30, full), "C": Occupant(99, Space(HUNDRED, HUNDRED))}
    assert choose(fleet, {"A": 50, "B": 10, "C": 0}, MARK) == "B"
    assert choose(fleet, {}, MARK) == "A"
    assert choose({"A": Occupant(50, None)}, {}, MARK) is None


def test_one_is_parked_after_the_other_with_time_to_free_some_space() -> None:
    fleet = Fleet()
    fleet.agents = {"WEB": heard(30, GIBIBYTE), "API": heard(20, GIBIBYTE), "OLD": heard(99, GIBIBYTE, connected=False)}
    watch = fleet.watch()
    watch.beat()
    assert fleet.woken == [], "what they hold may be from before"
    watch.beat()
    assert fleet.woken == ["web"]
    verdict = watch.verdict("WEB")
    assert verdict.evict is not None
    assert "the disk it writes to is 99% full" in verdict.evict
    assert "'cco retry web'" in verdict.evict
    assert verdict.full is not None
    assert "nothing is started" in verdict.full
    assert watch.verdict("API").evict is None
    fleet.now += disk.RELIEF_SECONDS
    watch.beat()
    assert fleet.woken == ["web"], "it is told once"
    del fleet.agents["WEB"]
    watch.beat()
    watch.beat()
    assert fleet.woken == ["web", "api"]
    fleet.agents = {"API": heard(20, HUNDRED)}
    fleet.now += disk.RELIEF_SECONDS
    watch.beat()
    assert watch.verdict("API") == DiskVerdict()


def test_who_filled_it_within_a_moment_is_measured_before_anybody_is_parked() -> None:
    """How full a disk is agents know at once, what they hold only when they have added it up again."""
    fleet = Fleet()
    fleet.agents = {"WEB": heard(30, HUNDRED), "API": heard(20, HUNDRED)}
    watch = fleet.watch()
    watch.beat()
    fleet.agents = {"WEB": heard(30, GIBIBYTE), "API": heard(20, GIBIBYTE)}
    watch.beat()
    assert fleet.woken == []
    assert watch.verdict("LATE").full is not None, "starts are held at once"
    fleet.agents = {"WEB": heard(30, GIBIBYTE), "API": heard(99 * GIBIBYTE, GIBIBYTE)}
    watch.beat()
    assert fleet.woken == ["api"]


def test_a_disk_that_was_full_for_a_moment_parks_nobody_the_next_time_it_is() -> None:
    fleet = Fleet()
    watch = fleet.watch()
    for free in (GIBIBYTE, HUNDRED, GIBIBYTE, HUNDRED):
        fleet.agents = {"WEB": heard(30, free)}
        watch.beat()
    assert fleet.woken == []


def test_who_freed_space_and_asked_for_a_retry_is_not_parked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [GIBIBYTE]
    monkeypatch.setattr(disk, "_space", lambda _: Space(HUNDRED, free[0]))
    fleet = Fleet()
    fleet.agents = {"WEB": heard(30, GIBIBYTE)}
    watch = fleet.watch(tmp_path)
    watch.beat()
    watch.beat()
    fleet.agents = {"WEB": heard(30, GIBIBYTE, connected=False)}
    watch.beat()
    assert watch.verdict("WEB").evict is not None, "it may still be about to be stopped"
    free[0] = HUNDRED // 2
    fleet.now += disk.LOOK_SECONDS
    watch.beat()
    assert watch.verdict("WEB") == DiskVerdict()


def test_one_that_is_gone_is_not_parked() -> None:
    fleet = Fleet()
    fleet.agents = {"WEB": heard(30, GIBIBYTE)}
    watch = fleet.watch(name_of=lambda _: None)
    watch.beat()
    watch.beat()
    assert fleet.woken == []
    assert watch.verdict("WEB").evict is None


def test_starts_are_held_until_there_is_clearly_more_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spaces = iter([Space(HUNDRED, 9 * GIBIBYTE), Space(HUNDRED, 12 * GIBIBYTE), Space(HUNDRED, 20 * GIBIBYTE)])
    watch = Fleet().watch(tmp_path, tmp_path / "not there")
    monkeypatch.setattr(disk, "_space", lambda place: next(spaces) if place == tmp_path else None)
    watch.beat()
    assert "91% full (9216 MiB free)" in str(watch.verdict("WEB").full)
    watch.beat()
    assert watch.verdict("WEB").full is not None
    watch.beat()
    assert watch.verdict("WEB").full is None


def test_a_real_folder_has_space_and_one_that_is_not_there_fills_nothing(tmp_path: Path) -> None:
    fleet = Fleet()
    fleet.agents = {"WEB": heard(30, None), "API": heard(30, HUNDRED)}
    watch = fleet.watch(tmp_path / "not there", tmp_path)
    assert watch.verdict("WEB") == DiskVerdict()
    watch.beat()
    assert watch.verdict("WEB").evict is None


def test_a_large_disk_has_room_where_a_small_one_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terabytes = 4000 * GIBIBYTE
    spaces = iter(Space(terabytes, free * GIBIBYTE) for free in (390, 49, 51, 53))
    monkeypatch.setattr(disk, "_space", lambda _: next(spaces))
    watch = Fleet().watch(tmp_path)
    told = []
    for _ in range(4):
        watch.beat()
        told.append(watch.verdict("WEB").full is not None)
    assert told == [False, True, True, False], "full it is with little space, and until there is clearly more"


def test_what_it_finds_first_is_known_before_anything_else_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_space", lambda _: Space(HUNDRED, GIBIBYTE))
    watch = Fleet().watch(tmp_path)
    watch.start()
    full = watch.verdict("WEB").full
    watch.stop()
    assert full is not None


def test_a_disk_that_does_not_answer_keeps_nothing_from_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(disk, "FIRST_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(disk, "_space", lambda _: answer.wait(10.0) and None)
    watch = Fleet().watch(tmp_path)
    watch.start()
    assert not answer.is_set()
    answer.set()
    watch.stop()


def test_it_looks_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LOOK_SECONDS", 0.01)
    fleet = Fleet()
    fleet.agents = {"WEB": heard(30, GIBIBYTE)}
    watch = fleet.watch()
    watch.start()
    eventually(lambda: fleet.woken, timeout=10.0, what="a look")
    watch.stop()


@pytest.mark.parametrize("error", [Unavailable("DatabaseBusy", "later"), ZeroDivisionError()])
def test_a_look_that_fails_is_told_and_repeated(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(disk, "LOOK_SECONDS", 0.01)
    fleet = Fleet()
    fleet.error = error
    watch = fleet.watch()
    with caplog.at_level(logging.WARNING):
        watch.start()
        eventually(lambda: len(caplog.records) >= 2, timeout=10.0, what="two looks that failed")
        watch.stop()
    assert {record.message for record in caplog.records} == {"disk not looked at"}
    assert not [thread for thread in threading.enumerate() if thread.name == "disk"]
