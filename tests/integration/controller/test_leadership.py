"""The lock of one controller: taken, refused, waited for, and lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller import leadership
from controller.errors import Fenced, Terminal
from controller.leadership import POLL_SECONDS, Lock, Silence, heartbeat, take, wait_for
from support.deadline import eventually
from support.scarcity import no_file_larger_than

LONGEST_SECONDS = 30.0


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    return take(tmp_path)


def test_a_second_one_is_refused_at_once_and_told_who_is_there(lock: Lock, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Terminal, match=f"process {os.getpid()} on {os.uname().nodename}") as caught:
        take(tmp_path)
    assert time.monotonic() - began < 1.0
    assert caught.value.reason == "ControllerRunning"
    assert str(tmp_path) in caught.value.message
    assert "--standby" not in caught.value.message  # 'cco up' and 'rebuild' know nothing of it
    assert lock.is_current()
    with pytest.raises(Terminal, match=r"uses .*: wait for it"):
        take(tmp_path, "wait for it")


def test_the_lock_can_be_taken_again_when_it_is_released(lock: Lock, tmp_path: Path) -> None:
    lock.release()
    again = take(tmp_path)
    assert again.is_current()
    assert again.path.read_text().startswith(str(os.getpid()))
    assert stat.S_IMODE(again.path.stat().st_mode) == 0o600


def test_a_holder_that_has_not_said_who_it_is_yet_is_unknown(lock: Lock, tmp_path: Path) -> None:
    os.truncate(lock.path, 0)
    with pytest.raises(Terminal, match="process unknown"):
        take(tmp_path)


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(Terminal, match="No such file") as caught:
        take(tmp_path / "nowhere")
    assert caught.value.reason == "StateDirectoryUnusable"


def test_whoever_is_kept_from_taking_it_does_not_wait_long(tmp_path: Path) -> None:
    with leadership._guard(tmp_path) as alone:  # noqa: SLF001 - plays a standby that was paused in that very moment
        assert alone
        began = time.monotonic()
        with pytest.raises(Terminal, match="process unknown"):
            take(tmp_path)
        assert 0.4 < time.monotonic() - began < 5.0


# Standing by -----------------------------------------------------------------------------------------------------


def hold(directory: Path, held: multiprocessing.synchronize.Event) -> None:
    take(directory)
    held.set()
    signal.pause()


@pytest.fixture
def holder(tmp_path: Path) -> Callable[[], multiprocessing.process.BaseProcess]:
    """Start another process that holds the lock."""

    def start() -> multiprocessing.process.BaseProcess:
        context = multiprocessing.get_context("spawn")
        held = context.Event()
        process = context.Process(target=hold, args=(tmp_path, held), daemon=True)
        process.start()
        assert held.wait(LONGEST_SECONDS)
        return process

    return start


class Waiting:
    """A standby in a thread."""

    def __init__(self, directory: Path, lease: float) -> None:
        self.stop = threading.Event()
        self.lock: Lock | None = None
        self.at = 0.0

        def wait() -> None:
            self.lock = wait_for(directory, lease, self.stop)
            self.at = time.monotonic()

        self.thread = threading.Thread(target=wait, daemon=True)
        self.thread.start()

    def ends(self) -> Lock | None:
        self.thread.join(LONGEST_SECONDS)
        assert not self.thread.is_alive()
        return self.lock


def test_a_standby_follows_at_once_when_the_holder_is_killed(
    holder: Callable[[], multiprocessing.process.BaseProcess], tmp_path: Path
) -> None:
    process = holder()
    standby = Waiting(tmp_path, 3600.0)
    standby.thread.join(0.2)
    assert standby.thread.is_alive()
    began = time.monotonic()
    process.kill()
    lock = standby.ends()
    assert lock is not None
    assert lock.is_current()
    assert standby.at - began < 1.0
    process.join()


def test_of_two_standbys_one_wins(holder: Callable[[], multiprocessing.process.BaseProcess], tmp_path: Path) -> None:
    process = holder()
    both = [Waiting(tmp_path, 0.5) for _ in range(2)]  # the holder is not dead, but touches nothing
    eventually(lambda: any(not each.thread.is_alive() for each in both), timeout=LONGEST_SECONDS, what="one of them")
    (winner,) = [each for each in both if not each.thread.is_alive()]
    (other,) = [each for each in both if each.thread.is_alive()]
    assert winner.lock is not None
    told: list[Terminal] = []
    with heartbeat(winner.lock, told.append, 0.05):
        other.thread.join(1.0)
        assert other.thread.is_alive()
        assert winner.lock.is_current()
    assert told == []
    other.stop.set()
    assert other.ends() is None
    process.kill()
    process.join()


def test_a_holder_that_shows_itself_is_left_alone(lock: Lock, tmp_path: Path) -> None:
    told: list[Terminal] = []
    with heartbeat(lock, told.append, 0.05):
        standby = Waiting(tmp_path, 0.8)
        standby.thread.join(1.6)
        assert standby.thread.is_alive()
        assert lock.is_current()
    assert told == []
    standby.stop.set()
    assert standby.ends() is None


def test_a_silent_holder_is_replaced_and_finds_out(lock: Lock, tmp_path: Path) -> None:
    new = Waiting(tmp_path, 0.3).ends()
    assert new is not None
    assert new.is_current()
    assert not lock.is_current()
    told: list[Terminal] = []
    before = lock.path.stat()
    with heartbeat(lock, told.append, 0.01):
        eventually(lambda: told, timeout=LONGEST_SECONDS, what="being told")
    (error,) = told
    assert isinstance(error, Fenced)
    assert f"another controller (process {os.getpid()} on" in error.message
    assert lock.path.stat() == before, "the new one's file is not touched by the old one"
    with pytest.raises(Terminal, match="another controller"):
        take(tmp_path)


def test_a_full_disk_keeps_nobody_from_taking_over(lock: Lock, tmp_path: Path) -> None:
    with no_file_larger_than(0):
        new = wait_for(tmp_path, 0.2, threading.Event())
    assert new is not None
    assert new.is_current()
    assert not lock.is_current()
    with pytest.raises(Terminal, match="process unknown"):
        take(tmp_path)


def test_whoever_cannot_sign_leaves_nobody_else_s_name(lock: Lock, tmp_path: Path) -> None:
    lock.path.write_text("1 on a machine of before\n")
    lock.release()
    with no_file_larger_than(0):
        assert take(tmp_path).holder.startswith(f"{os.getpid()} on")
    assert lock.path.read_text() == ""


def test_a_lock_file_removed_by_hand_is_a_lost_one(lock: Lock) -> None:
    lock.path.unlink()
    told: list[Terminal] = []
    with heartbeat(lock, told.append, 0.01):
        eventually(lambda: told, timeout=LONGEST_SECONDS, what="being told")
    assert "was removed" in told[0].message


def test_whoever_opened_the_file_before_it_was_replaced_does_not_get_it(lock: Lock) -> None:
    old = os.open(lock.path, os.O_RDWR)
    lock.path.rename(lock.path.with_name("old"))
    lock.path.touch()
    lock.release()
    assert leadership._lock(old)  # noqa: SLF001 - the step between opening and comparing
    assert not leadership._same_file(old, lock.path)  # noqa: SLF001 - the comparison
    os.close(old)


def test_a_standby_can_be_told_to_stop(lock: Lock, tmp_path: Path) -> None:
    standby = Waiting(tmp_path, 3600.0)
    standby.stop.set()
    assert standby.ends() is None
    assert lock.is_current()


# Silence ---------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def silence(clock: Clock) -> Silence:
    return Silence(lease=10.0, clock=clock)


def listen(silence: Silence, clock: Clock, path: Path, seconds: float) -> bool:
    """Look as often as a standby does."""
    for _ in range(round(seconds / POLL_SECONDS)):
        clock.now += POLL_SECONDS
        if silence.is_over_lease(path):
            return True
    return False


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 86400.0, -86400.0])
def test_wall_clocks_play_no_part(lock: Lock, silence: Silence, clock: Clock, jump: float) -> None:
    assert not listen(silence, clock, lock.path, 9.0)
    moment = time.time() + jump
    os.utime(lock.path, (moment, moment))  # a touch by a holder whose clock was set
    assert not listen(silence, clock, lock.path, 9.0)
    assert listen(silence, clock, lock.path, 2.0)


def test_time_in_which_nobody_looked_does_not_count(lock: Lock, silence: Silence, clock: Clock) -> None:
    """Standby and holder were paused together, with their machine or container."""
    assert not listen(silence, clock, lock.path, 5.0)
    clock.now += 3600.0
    assert not listen(silence, clock, lock.path, 4.0)
    assert listen(silence, clock, lock.path, 2.0)


def test_another_file_begins_a_new_silence(lock: Lock, silence: Silence, clock: Clock) -> None:
    assert not listen(silence, clock, lock.path, 9.0)
    lock.path.rename(lock.path.with_name("old"))
    assert not listen(silence, clock, lock.path, 60.0), "there is nobody to be silent"
    lock.path.touch()
    assert not listen(silence, clock, lock.path, 9.0)
    assert listen(silence, clock, lock.path, 2.0)
