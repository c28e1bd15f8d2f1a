"""A database that is not as it should be: controller and server say so in one line, and touch nothing."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from controller import __main__ as controller
from support.api_world import instance_manifest, repository_manifest
from support.ready_database import open_ready
from ui import server


def corrupt(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(16384))


def overwrite_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(4096))


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def from_another_installation(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE installation SET installation_id = '11111111-1111-4111-8111-111111111111'")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")


WRONG: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a damaged page": (corrupt, "DatabaseCorrupt", "rebuild"),
    "a damaged head": (overwrite_head, "DatabaseCorrupt", "rebuild"),
    "gone": (Path.unlink, "DatabaseMissing", "rebuild"),
    "empty": (truncate, "DatabaseMissing", "rebuild"),
    "another installation's": (from_another_installation, "InstallationMismatch", "put the right state.db back"),
    "a newer version's": (newer, "DatabaseNewer", "install that version again"),
    "another program's": (foreign, "DatabaseForeign", "another state_dir"),
}

PROGRAMS: dict[str, Callable[[], int]] = {
    "controller": lambda: controller.main(["run"]),
    "standby": lambda: controller.main(["run", "--standby"]),
    "server": lambda: server.main([]),
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory in use, and this process set up as either program would find it."""
    folder = tmp_path / "s"
    with open_ready(folder / "state.db") as store:
        store.repositories.create(repository_manifest())
        for number in range(30):
            store.instances.create(instance_manifest(f"i{number}", prompt="x" * 3000))
    (folder / "instances" / "i1").mkdir(parents=True)
    (folder / "token").write_text("t" * 43)
    (folder / "token").chmod(0o600)
    for name in [name for name in os.environ if name.startswith(("CCO_", "ANTHROPIC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CCO_STATE_DIR", str(folder))
    monkeypatch.setenv("CCO_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    root = logging.getLogger()
    handlers, level, umask = root.handlers[:], root.level, os.umask(0o022)
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield folder
    for number, handler in signals.items():
        signal.signal(number, handler)
    os.umask(umask)
    root.handlers[:], root.level = handlers, level


def content(state: Path) -> dict[str, bytes]:
    """Return every file, but for the locks, which tell who was here."""
    files = (path for path in state.rglob("*") if path.is_file() and ".lock" not in path.name)
    return {str(path.relative_to(state)): path.read_bytes() for path in files}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("wrong", WRONG)
def test_it_is_refused_in_one_line(program: str, wrong: str, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, reason, way_out = WRONG[wrong]
    spoil(state / "state.db")
    before = content(state)
    assert PROGRAMS[program]() == 1
    told = capsys.readouterr()
    *log, line = told.err.splitlines()
    assert told.out == ""
    assert all(" INFO " in entry for entry in log)
    assert line.startswith(f"{'server' if program == 'server' else 'controller'}: {reason}: ")
    assert str(state / "state.db") in line
    assert way_out in line
    after = content(state)
    assert after.keys() - before.keys() <= {"state.db-wal", "state.db-shm"}
    assert {name: text for name, text in after.items() if name in before} == before
