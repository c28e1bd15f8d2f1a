"""The process runtime's files, and who a process is; without starting a workload."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from controller.errors import Conflict, Unavailable
from controller.runtime.process import homes as homes_module
from controller.runtime.process.events import watch_records
from controller.runtime.process.homes import Homes, Owner
from controller.runtime.process.logs import LogFile, older, tail
from controller.runtime.process.processes import Identity, boot_id, descendants, marked
from controller.runtime.process.programs import Programs, write_git
from controller.runtime.process.records import Exit, Record, Records, Run, now
from controller.runtime.protocol import Limits, Resync
from controller.workspace.safe_files import remove_tree
from support.deadline import eventually
from support.scarcity import no_file_larger_than

LIMITS = Limits(cpus=1, memory=64 * 1024**2, pids=9)


def record(name: str = "cco-web-1", uid: str = "11111111-1111-4111-8111-111111111111") -> Record:
    return Record(
        id="f" * 32,
        installation="ours",
        name=name,
        instance="web",
        uid=uid,
        attempt=1,
        image_id="sha256:0",
        spec_hash="hash",
        workdir="/",
        user=(1, 2),
        created_at=now(),
        sources=("/srv",),
        env={"A": "b"},
    )


def me() -> Identity:
    found = Identity.of(os.getpid())
    assert found is not None
    return found


@pytest.fixture
def records(tmp_path: Path) -> Records:
    made = Records(tmp_path / "process")
    made.prepare()
    return made


def test_a_record_reads_as_it_was_written(records: Records) -> None:
    assert records.add(record(), LIMITS)
    assert not records.add(record(), Limits(cpus=2, memory=1, pids=1))
    assert records.all() == [record_as_read(records)]
    assert records.limits("cco-web-1") == LIMITS
    records.forget("cco-web-1")
    records.forget("cco-web-1")
    assert records.all() == []
    assert list(records.folder.iterdir()) == []


def test_what_cannot_be_written_leaves_nothing_behind(records: Records, tmp_path: Path) -> None:
    records.write_limits("cco-web-1", LIMITS)
    run = Run("one", me(), me(), now(), "/scratch", {})
    programs = Programs("claude", "tmux", "git", "python", (), tmp_path, tmp_path / "settings.json")
    write_git(programs, tmp_path / "bin")
    before = sorted([*records.folder.iterdir(), *(tmp_path / "bin").iterdir()])
    with no_file_larger_than(1):
        for act in (
            lambda: records.add(record(), LIMITS),
            lambda: records.write_limits("cco-web-1", LIMITS),
            lambda: records.write_run("cco-web-1", run),
        ):
            with pytest.raises(Unavailable, match="File too large"):
                act()
        with pytest.raises(OSError, match="File too large"):
            write_git(programs, tmp_path / "bin")
    assert sorted([*records.folder.iterdir(), *(tmp_path / "bin").iterdir()]) == before


def test_what_was_cut_off_in_writing_goes_with_its_workload(records: Records) -> None:
    records.add(record(), LIMITS)
    (records.folder / ".cco-web-1.state.0a1b2c3d").touch()
    other = records.folder / ".cco-web-10.state.0a1b2c3d"
    other.touch()
    records.forget("cco-web-1")
    assert list(records.folder.iterdir()) == [other]


def record_as_read(records: Records) -> Record:
    found = records.read("cco-web-1")
    assert found is not None
    assert found == dataclasses.replace(record(), created_at=found.created_at)
    return found


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": 1}', "\0"])
def test_what_we_did_not_write_is_nobody_of_ours_and_stays(records: Records, content: str) -> None:
    path = records.path("cco-web-1", "workload")
    path.write_text(content)
    assert records.all() == []
    assert not records.add(record(), LIMITS)
    assert path.read_text() == content


def test_an_end_counts_for_its_own_run_only(records: Records) -> None:
    run = Run("one", me(), me(), now(), "/scratch", {"memory": "/x"}, notice="told")
    records.write_run("cco-web-1", run)
    assert records.run("cco-web-1") == run
    records.write_exit("cco-web-1", Exit("one", 3, oom_killed=False, finished_at=now()))
    assert records.exit("cco-web-1", run) is not None
    assert records.exit("cco-web-1", dataclasses.replace(run, id="two")) is None


def test_a_folder_that_went_away_is_not_an_empty_one(records: Records) -> None:
    records.folder.rename(records.folder.with_name("moved"))
    for look in (records.check, records.all, lambda: records.read("x"), lambda: records.run("x")):
        with pytest.raises(Unavailable, match="put it back"):
            look()


def test_a_pid_that_came_again_is_somebody_else() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child:
        who = Identity.of(child.pid)
        assert who is not None
        assert who.is_alive()
        impostors = (dataclasses.replace(who, started=who.started - 1), dataclasses.replace(who, boot="another"))
        for impostor in impostors:
            assert not impostor.is_alive()
            assert impostor.wait(0)
            assert not impostor.send(signal.SIGKILL)
        assert who.is_alive(), "nobody killed it for another"
        assert not who.wait(0)
        assert who in descendants(os.getpid())
        assert who.send(signal.SIGKILL)
        assert who.wait(10)
    assert Identity.of(child.pid) is None
    assert who.boot == boot_id()


# Its first thread ends; another one goes on.
_HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_first_thread_ended_is_alive_and_can_be_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", _HEADLESS], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        who = Identity.of(child.pid)
        assert who is not None
        eventually(lambda: b") Z " in Path(f"/proc/{who.pid}/stat").read_bytes(), timeout=10, what="half an end")
        try:
            assert who.is_alive()
            assert who in descendants(os.getpid())
            assert not who.wait(0)
        finally:
            child.kill()
        assert who.wait(10)
        assert not who.is_alive()


def test_processes_are_found_by_their_mark() -> None:
    environment = {**os.environ, "CCO_TEST_MARK": f"{os.getpid()}"}
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment)
    with child:
        who = Identity.of(child.pid)
        assert marked(f"CCO_TEST_MARK={os.getpid()}") == {who}
        assert marked(f"CCO_TEST_MARK={os.getpid()}0") == set()
        child.kill()


def test_a_log_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(path, largest=1000)
    for number in range(1000):
        log.write(b"line %d\n" % number)
    assert path.stat().st_size + older(path).stat().st_size < 2100
    assert tail(path, 2) == b"line 998\nline 999\n"
    assert tail(tmp_path / "none", 2) == b""


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    LogFile(tmp_path / "no" / "such" / "folder").write(b"lost")


def owner(uid: str = "11111111-1111-4111-8111-111111111111") -> Owner:
    return Owner("ours", "web", uid, now())


def test_a_home_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    homes = Homes(tmp_path / "homes", "cco")
    assert homes.make(owner(), None)
    home = homes.path("web", owner().uid) / "home"
    assert home.stat().st_mode & 0o777 == 0o700
    (home / "kept").touch()
    assert not homes.make(owner(), None)
    assert (home / "kept").exists()
    assert [name for name, _ in homes.all()] == ["cco-web-11111111-home"]
    homes.remove(owner())
    homes.remove(owner())
    assert homes.all() == []


def test_a_home_that_is_being_made_is_nothing_that_a_removal_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = Homes(tmp_path / "homes", "cco")
    other = dataclasses.replace(owner(), instance="api", uid="22222222-2222-4222-8222-222222222222")
    homes.make(other, None)
    monkeypatch.setattr(os, "chown", lambda *_: homes.remove(other))
    assert homes.make(owner(), (1000, 1000))
    assert [name for name, _ in homes.all()] == ["cco-web-11111111-home"]


def test_what_a_removal_left_goes_with_the_next_one_and_both_may_be_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = Homes(tmp_path / "homes", "cco")
    other = dataclasses.replace(owner(), instance="api", uid="22222222-2222-4222-8222-222222222222")
    homes.make(owner(), None)
    homes.make(other, None)
    remove = remove_tree

    def meanwhile(path: str) -> None:
        monkeypatch.setattr(homes_module, "remove_tree", remove)
        homes.remove(other)
        remove(path)

    monkeypatch.setattr(homes_module, "remove_tree", meanwhile)
    homes.remove(owner())
    assert list((tmp_path / "homes").iterdir()) == []


def test_a_home_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    homes = Homes(tmp_path / "homes", "cco")
    homes.make(owner(), None)
    other = owner("11111111-2222-4222-8222-222222222222")  # the same name, another uid
    for act in (lambda: homes.make(other, None), lambda: homes.remove(other)):
        with pytest.raises(Conflict, match="left alone"):
            act()


def test_a_removal_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    homes = Homes(tmp_path / "homes", "cco")
    homes.make(owner(), None)
    half = tmp_path / "homes" / ".cco-web-11111111-home.0a0b0c0d"
    half.mkdir()
    (half / "rest").touch()
    homes.remove(owner())
    assert list((tmp_path / "homes").iterdir()) == []


def test_a_word_to_watchers_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    Records(tmp_path / "not there").tell("cco-web-1")


def test_a_watch_tells_whose_workload_went(records: Records) -> None:
    records.add(record(), LIMITS)
    stop = threading.Event()
    watch = watch_records(records, "ours", stop)
    assert isinstance(next(watch), Resync)
    records.forget("cco-web-1")
    assert next(watch) == record().uid
    records.add(dataclasses.replace(record(), installation="theirs", uid="x"), LIMITS)
    stop.set()
    assert list(watch) == []
