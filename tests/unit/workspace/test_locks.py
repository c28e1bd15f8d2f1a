"""The locks of folders: one at a time, and nothing kept of a folder that nobody locks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controller.errors import Retryable
from controller.workspace import locks
from controller.workspace.locks import folder_lock


def test_one_thread_at_a_time_has_it(tmp_path: Path) -> None:
    inside, most = [0], [0]
    pause = threading.Event()

    def work(_: int) -> None:
        with folder_lock(str(tmp_path)):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            pause.wait(0.002)
            inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert most == [1]


def test_whoever_waits_too_long_is_told(tmp_path: Path) -> None:
    link = tmp_path / "another name of it"
    link.symlink_to(tmp_path)
    with (
        folder_lock(str(tmp_path)),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(Retryable, match="locked by another operation") as caught,
    ):
        pool.submit(folder_lock(str(link), timeout=0.05).__enter__).result()
    assert caught.value.reason == "Busy"


def test_nothing_is_kept_of_folders_that_nobody_locks(tmp_path: Path) -> None:
    before = len(locks._turns)  # noqa: SLF001 - what would grow for ever
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        with folder_lock(str(folder)), folder_lock(str(tmp_path)):
            assert len(locks._turns) == before + 2  # noqa: SLF001 - see above
    assert len(locks._turns) == before  # noqa: SLF001 - see above
