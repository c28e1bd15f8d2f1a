"""Disk, database, private files and leftovers: real files, real SQLite, real sockets."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from controller.doctor import disk
from controller.doctor.database import examine_database, examine_size
from controller.doctor.disk import Room, examine_disk
from controller.doctor.leftovers import (
    clear_leftovers,
    examine_leftovers,
    examine_state_directory,
    examine_token,
    judge_configuration,
    restrict,
    restrict_state_directory,
)
from controller.leadership import LOCK_NAME
from controller.resources.check import CheckStatus, Fixer
from controller.space import Space
from controller.workspace.git import OLDEST_GIT
from support.ready_database import open_ready
from ui.cli.doctor import programs

GIB = 1024**3


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is short enough for a socket, whatever the test is called."""
    with tempfile.TemporaryDirectory(prefix="cco-doctor-") as made:
        yield Path(made)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


# Disk -------------------------------------------------------------------------------------------------------------


def room(*, free: int, total: int = 100 * GIB, inodes: float = 1.0) -> Room:
    return Room(("state directory",), Path("/x"), Space(total, free), inodes)


@pytest.mark.parametrize(
    ("found", "severity"),
    [
        (room(free=50 * GIB), 0),
        (room(free=16 * GIB), 0),
        (room(free=14 * GIB), 1),
        (room(free=10 * GIB), 3),
        (room(free=0), 3),
        (room(free=390 * GIB, total=4000 * GIB), 0),
        (room(free=51 * GIB, total=4000 * GIB), 1),
        (room(free=49 * GIB, total=4000 * GIB), 3),
        (room(free=400 * 1024**2, total=GIB), 1),
        (room(free=50 * GIB, inodes=0.04), 1),
        (room(free=50 * GIB, inodes=0.001), 2),
        (room(free=0, total=0), 1),
    ],
)
def test_how_bad_it_is(found: Room, severity: int) -> None:
    assert found.severity(0.9) == severity


def test_the_same_file_system_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "measure", lambda use, path: Room((use,), path, Space(100 * GIB, 50 * GIB), 1.0))
    places = [("state directory", tmp_path), ("worktrees", tmp_path / "not" / "there"), ("worktrees", tmp_path)]
    finding = examine_disk(places, 0.9)
    assert finding.status is CheckStatus.OK
    assert finding.message == f"state directory, worktrees ({tmp_path}): 50Gi of 100Gi free"


def test_a_disk_that_fills_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "measure", lambda use, path: Room((use,), path, Space(100 * GIB, 12 * GIB), 1.0))
    assert examine_disk([("worktrees", tmp_path)], 0.9).status is CheckStatus.WARN
    monkeypatch.setattr(disk, "measure", lambda use, path: Room((use,), path, Space(100 * GIB, 5 * GIB), 0.005))
    finding = examine_disk([("worktrees", tmp_path)], 0.9)
    assert finding.status is CheckStatus.FAIL
    assert (
        f"worktrees ({tmp_path}): 5Gi of 100Gi free, 0.5% of the inodes: too full (90% is the mark)" in finding.message
    )


def test_what_the_controller_does_not_act_upon_is_not_said_to_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "measure", lambda use, path: Room((use,), path, Space(100 * GIB, 50 * GIB), 0.005))
    finding = examine_disk([("worktrees", tmp_path)], 0.9)
    assert finding.status is CheckStatus.FAIL
    assert "0.5% of the inodes: nearly no file can be made" in finding.message
    assert "nothing is started" not in finding.message


def test_nothing_to_look_at_is_unknown() -> None:
    assert examine_disk([], 0.9).status is CheckStatus.UNKNOWN


# Database ---------------------------------------------------------------------------------------------------------


def test_a_sound_database_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with open_ready(path):
        pass
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    finding = examine_database(path)
    assert finding is not None
    assert (finding.status, finding.message) == (CheckStatus.OK, f"{path} is sound")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_database_in_use_is_read(tmp_path: Path) -> None:
    with open_ready(tmp_path / "state.db") as store:
        assert store.installation_id
        finding = examine_database(tmp_path / "state.db")
    assert finding is not None
    assert finding.status is CheckStatus.OK


def damage(path: Path) -> None:
    """Write over a page in the middle of the tables."""
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 200] = b"\xff" * 200
    path.write_bytes(data)


def test_a_damaged_database_fails_in_sqlites_words(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with open_ready(path):
        pass
    damage(path)
    finding = examine_database(path)
    assert finding is not None
    assert finding.status is CheckStatus.FAIL
    assert "is damaged" in finding.message
    assert "rebuild" in finding.message


def test_what_is_no_database_fails(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is not a database, whatever its name may say" * 100)
    finding = examine_database(path)
    assert finding is not None
    assert finding.status is CheckStatus.FAIL


def test_an_absent_database_fails_only_where_there_was_one(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    assert examine_database(path) is None
    assert examine_size(path) is None
    (tmp_path / "installation").write_text("a-b-c")
    finding = examine_database(path)
    assert finding is not None
    assert finding.status is CheckStatus.FAIL
    assert "is gone" in finding.message


def test_sizes(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"x" * 8192)
    small = examine_size(path)
    assert small is not None
    assert (small.status, small.message) == (CheckStatus.OK, "8Ki, write-ahead log 0")
    with (tmp_path / "state.db-wal").open("wb") as log:
        log.truncate(65 * 1024**2)
    long = examine_size(path)
    assert long is not None
    assert long.status is CheckStatus.WARN
    assert "write-ahead log 65Mi" in long.message
    os.truncate(tmp_path / "state.db-wal", 0)
    os.truncate(path, 2 * GIB)
    large = examine_size(path)
    assert large is not None
    assert large.status is CheckStatus.WARN


# Private files ----------------------------------------------------------------------------------------------------


def test_the_state_directory_is_its_owners_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert examine_state_directory(state).status is CheckStatus.WARN
    state.mkdir(mode=0o700)
    assert examine_state_directory(state).status is CheckStatus.OK
    state.chmod(0o755)
    finding = examine_state_directory(state)
    assert (finding.status, finding.fixable_by, finding.fix) == (CheckStatus.FAIL, Fixer.CLIENT, f"chmod 700 {state}")
    assert "0755" in finding.message
    file = tmp_path / "file"
    file.touch()
    assert examine_state_directory(file).status is CheckStatus.FAIL


def test_a_state_directory_that_cannot_be_written_to_is_told(folder: Path) -> None:
    folder.chmod(0o500)
    root = os.geteuid() == 0
    if root:  # to whom modes say nothing
        os.chown(folder, 12345, 12345)
        os.seteuid(12345)
    try:
        finding = examine_state_directory(folder)
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
    assert finding.status is CheckStatus.FAIL
    assert f"{folder} cannot be written to, so nothing starts" in finding.message


def test_instances_of_other_users_go_on_passing_through_the_state_directory(tmp_path: Path) -> None:
    homes = tmp_path / "process" / "homes"
    homes.mkdir(parents=True)
    homes.chmod(0o711)  # as runtime 'process' leaves it
    tmp_path.chmod(0o755)
    assert examine_state_directory(tmp_path).fix == f"chmod 711 {tmp_path}"
    repair = restrict_state_directory(tmp_path)
    assert repair is not None
    assert (repair.done, mode(tmp_path)) == (True, 0o711)
    assert examine_state_directory(tmp_path).status is CheckStatus.OK
    assert restrict_state_directory(tmp_path) is None


def test_the_token_is_its_owners_alone(tmp_path: Path) -> None:
    token = tmp_path / "token"
    assert examine_token(token).status is CheckStatus.WARN
    token.write_text("a secret of some length")
    token.chmod(0o640)
    finding = examine_token(token)
    assert (finding.status, finding.fixable_by) == (CheckStatus.FAIL, Fixer.CLIENT)
    assert "a secret" not in finding.message
    token.chmod(0o600)
    assert examine_token(token).status is CheckStatus.OK


def test_others_may_read_the_configuration_and_not_write_it(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    assert judge_configuration(config).status is CheckStatus.OK
    config.write_text("port: 8080\n")
    config.chmod(0o644)
    assert judge_configuration(config).status is CheckStatus.OK
    config.chmod(0o664)
    assert judge_configuration(config).status is CheckStatus.FAIL


def test_modes_are_only_ever_tightened(tmp_path: Path) -> None:
    token = tmp_path / "token"
    assert restrict("token", token, 0o600) is None
    token.touch(mode=0o644)
    token.chmod(0o644)
    repair = restrict("token", token, 0o600)
    assert repair is not None
    assert (repair.done, mode(token)) == (True, 0o600)
    assert "0644 is now 0600" in repair.message
    token.chmod(0o400)
    assert restrict("token", token, 0o600) is None
    assert mode(token) == 0o400


def test_no_mode_is_changed_through_a_link(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.touch()
    theirs.chmod(0o644)
    token = tmp_path / "token"
    token.symlink_to(theirs)
    repair = restrict("token", token, 0o600)
    assert repair is not None
    assert not repair.done
    assert mode(theirs) == 0o644


# Leftovers --------------------------------------------------------------------------------------------------------


def dead_process() -> int:
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def test_a_socket_nobody_listens_on_and_drafts_of_the_dead_are_left_over(folder: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(folder / "controller.sock"))
        listener.listen()
        alive = examine_leftovers(folder)
        assert alive is not None
        assert alive.status is CheckStatus.OK
    dead = folder / f"token.{dead_process()}.0a1b2c3d"
    living = folder / f"token.{os.getpid()}.0a1b2c3d"
    others = [folder / "token", folder / "controller.lock", folder / "state.db", living]
    for path in (dead, *others):
        path.touch()
    finding = examine_leftovers(folder)
    assert finding is not None
    assert (finding.status, finding.fixable_by) == (CheckStatus.WARN, Fixer.CLIENT)
    assert all(repair.done for repair in clear_leftovers(folder))
    assert sorted(folder.iterdir()) == sorted(others)
    assert clear_leftovers(folder) == ()


def test_a_controller_that_starts_is_let_alone(folder: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(folder / "controller.sock"))
    with (folder / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (repair,) = clear_leftovers(folder)
    assert not repair.done
    assert "is held" in repair.message
    assert (folder / "controller.sock").exists()


def test_without_a_state_directory_nothing_is_left_over(tmp_path: Path) -> None:
    assert examine_leftovers(tmp_path / "state") is None


def test_the_oldest_git_is_that_of_the_workspaces() -> None:
    assert programs.OLDEST_GIT == OLDEST_GIT
