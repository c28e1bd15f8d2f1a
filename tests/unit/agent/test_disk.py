"""What an instance occupies: added up as `du` does it, rarely, and at once when space vanishes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from agent import disk
from agent.disk import Disk, DiskMeter, occupied


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A worktree and a HOME with links, holes and a folder that is closed."""
    work = tmp_path / "work"
    (work / "deep" / "er").mkdir(parents=True)
    (work / "a").write_bytes(b"x" * 100_000)
    os.link(work / "a", work / "deep" / "b")
    (work / "deep" / "er" / "usr").symlink_to("/usr")
    with (work / "holes").open("wb") as sparse:
        sparse.truncate(10**9)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "talk.jsonl").write_bytes(b"y" * 50_000)
    return tmp_path


def du(*folders: Path) -> int:
    out = subprocess.run(
        ["du", "-s", "-c", "-B1", *folders], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    return int(out.splitlines()[-1].split()[0])


def test_folders_are_added_up_as_du_does_it(tree: Path) -> None:
    own = (tree / "work").stat().st_blocks * 512
    assert occupied([tree / "work"]) == du(tree / "work") - own
    assert occupied([tree / "work", tree / "not there"]) == occupied([tree / "work"])
    assert occupied([tree / "work", tree / "work"]) < 2 * occupied([tree / "work"]), "a file of two names counts once"


def test_a_look_tells_the_last_measurement_and_the_space_there_is_now(tree: Path) -> None:
    meter = DiskMeter([tree / "work"], tree / "home")
    first = meter.look()
    assert (first.worktree_bytes, first.home_bytes) == (None, None)
    meter.measure()
    then = meter.look()
    assert then.worktree_bytes == occupied([tree / "work"])
    assert then.home_bytes == occupied([tree / "home"])
    space = os.statvfs(tree)
    assert then.disk_total_bytes == space.f_blocks * space.f_frsize
    assert then.disk_free_bytes is not None
    assert 0 < then.disk_free_bytes <= then.disk_total_bytes


def test_the_fullest_file_system_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_spaces", lambda _: iter([(100, 50), (1000, 100), (10, 9)]))
    assert DiskMeter([tree / "work"], tree / "home").look() == Disk(None, None, 1000, 100)


def test_folders_that_are_not_there_tell_nothing(tmp_path: Path) -> None:
    assert DiskMeter([tmp_path / "no"], tmp_path / "nor").look() == Disk()


def test_it_measures_at_once_then_rarely_and_again_when_space_vanishes(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "LOOK_SECONDS", 0.001)
    free = [10 * 2**30]
    monkeypatch.setattr(disk, "_spaces", lambda _: iter([(100 * 2**30, free[0])]))
    meter = DiskMeter([tree / "work"], tree / "home")
    measured: list[int] = []
    once, again = asyncio.Event(), asyncio.Event()

    async def follow() -> None:
        loop = asyncio.get_running_loop()
        real = meter.measure

        def measure() -> None:
            real()
            measured.append(free[0])
            loop.call_soon_threadsafe(once.set if len(measured) == 1 else again.set)

        monkeypatch.setattr(meter, "measure", measure)
        running = asyncio.create_task(meter.run())
        async with asyncio.timeout(10):
            await once.wait()
            await asyncio.sleep(0.05)
            assert len(measured) == 1
            free[0] -= disk.LOST
            await again.wait()
        running.cancel()

    asyncio.run(follow())
    assert measured == [10 * 2**30, 10 * 2**30 - disk.LOST]
