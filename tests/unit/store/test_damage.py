"""Whatever is wrong with the file: a clear word, nothing touched, and recovery when it is mended."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from controller.errors import Retryable, Terminal
from controller.resources import InstanceManifest
from controller.store import Store, database, migrate

New = Callable[..., InstanceManifest]


def refusal(path: Path) -> Terminal:
    with pytest.raises(Terminal) as refused:
        Store.open(path)
    assert str(path) in refused.value.message
    return refused.value


def test_a_file_that_is_no_database_is_refused_untouched(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all " * 500)
    before = path.read_bytes()
    assert refusal(path).reason == "DatabaseCorrupt"
    assert path.read_bytes() == before


def test_a_damaged_page_is_found_at_open(path: Path, new_instance: New) -> None:
    with Store.open(path) as store:
        for number in range(200):
            store.instances.create(new_instance(f"i{number}"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(20_000))
    refused = refusal(path)
    assert refused.reason == "DatabaseCorrupt"
    assert "Restore it from a backup" in refused.message


def test_a_newer_schema_is_refused(path: Path) -> None:
    Store.open(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    refused = refusal(path)
    assert refused.reason == "DatabaseNewer"
    assert "9999" in refused.message


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    assert refusal(path).reason == "DatabaseForeign"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_a_vanished_database_is_not_a_first_start(path: Path, new_instance: New) -> None:
    with Store.open(path) as store:
        store.instances.create(new_instance())
        identity = store.installation_id
    path.unlink()
    refused = refusal(path)
    assert refused.reason == "DatabaseMissing"
    assert "python -m controller rebuild" in refused.message
    file = path.with_name("installation")
    assert str(file) in refused.message
    assert not path.exists()
    path.touch()
    assert refusal(path).reason == "DatabaseMissing", "an empty one is no better"
    assert file.read_text() == f"{identity}\n"
    file.unlink()
    with Store.open(path) as anew:
        assert anew.installation_id != identity


def test_folders_of_instances_tell_of_a_database_that_was_there(path: Path) -> None:
    (path.parent / "instances").mkdir(parents=True)
    with Store.open(path):
        pass
    path.unlink()
    path.with_name("installation").unlink()
    (path.parent / "instances" / "web").mkdir()
    refused = refusal(path)
    assert refused.reason == "DatabaseMissing"
    assert str(path.parent / "instances") in refused.message
    assert not path.exists()


def test_the_database_of_another_installation_is_refused_untouched(path: Path, tmp_path: Path) -> None:
    with Store.open(path) as ours:
        identity = ours.installation_id
    with Store.open(tmp_path / "other" / "state.db") as theirs:
        other = theirs.installation_id
    theirs_file = tmp_path / "other" / "state.db"
    path.write_bytes(theirs_file.read_bytes())
    refused = refusal(path)
    assert refused.reason == "InstallationMismatch"
    assert identity in refused.message
    assert other in refused.message
    assert path.read_bytes() == theirs_file.read_bytes()


def test_what_is_no_id_is_not_taken_for_one(path: Path) -> None:
    with Store.open(path):
        pass
    path.with_name("installation").write_text("nothing of the sort\n")
    assert refusal_of(path.with_name("installation"), path).reason == "InstallationMismatch"


def refusal_of(named: Path, path: Path) -> Terminal:
    with pytest.raises(Terminal) as refused:
        Store.open(path)
    assert str(named) in refused.value.message
    return refused.value


def test_the_former_file_of_the_id_is_taken_over(path: Path) -> None:
    with Store.open(path) as store:
        identity = store.installation_id
    path.with_name("installation").rename(path.with_name("state.db.id"))
    with Store.open(path):
        assert path.with_name("installation").read_text() == f"{identity}\n"
        assert not path.with_name("state.db.id").exists()
    path.with_name("installation").rename(path.with_name("state.db.id"))
    path.unlink()
    assert refusal(path).reason == "DatabaseMissing"


def test_a_database_replaced_while_open_is_noticed(path: Path, store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())
    path.rename(path.with_name("moved"))
    for use in (lambda: store.instances.create(new_instance("b")), store.instances.list):
        with pytest.raises(Terminal) as refused:
            use()
        assert refused.value.reason == "DatabaseReplaced"
    path.with_name("moved").rename(path)
    assert store.instances.names() == ["web"]


def test_a_folder_in_its_place_is_unreadable(path: Path) -> None:
    path.mkdir(parents=True)
    assert refusal(path).reason == "DatabaseUnreadable"


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    (tmp_path / "elsewhere").write_text("precious")
    path.symlink_to(tmp_path / "elsewhere")
    assert refusal(path).reason == "DatabaseUnreadable"
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_row_from_the_future_is_named(path: Path, store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("""UPDATE instances SET spec = json_set(spec, '$.wings', 2)""")
    with pytest.raises(Terminal, match="instance 'web' that this version cannot read \\(wings"):
        store.instances.list()


def test_everything_is_private(path: Path, store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    names = {"state.db", "state.db-wal", "state.db-shm", "state.db.lock", "state.db.mark", "installation"}
    assert set(modes) == names
    assert set(modes.values()) == {0o600}


def test_a_mode_that_is_too_wide_is_narrowed(path: Path) -> None:
    Store.open(path).close()
    path.chmod(0o644)
    Store.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_readers_go_on_and_writers_give_up_while_another_program_locks(
    path: Path, new_instance: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.3)
    with Store.open(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        store.instances.create(new_instance())
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(Retryable, match="locked by another program") as refused:
            store.instances.create(new_instance("b"))
        assert refused.value.reason == "DatabaseLocked"
        assert 0.2 < time.monotonic() - started < 5
        assert store.instances.names() == ["web"]
        other.execute("ROLLBACK")
        store.instances.create(new_instance("b"))


def test_a_writer_waits_its_turn(path: Path, store: Store, new_instance: New) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, other.execute, ["COMMIT"])
        release.start()
        store.instances.create(new_instance())
        release.join()
    assert store.instances.names() == ["web"]


def test_a_full_disk_stops_writes_only(store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())

    def shrink(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite's own way to play a full disk

    engine = store._database._engine  # noqa: SLF001 - nothing public can fill a disk
    event.listen(engine, "checkout", shrink)

    def fill() -> None:
        for number in range(100):
            store.instances.create(new_instance(f"i{number}", prompt="x" * 50_000))

    with pytest.raises(Retryable, match="is full") as refused:
        fill()
    assert refused.value.reason == "DiskFull"
    written = store.instances.names()
    event.remove(engine, "checkout", shrink)
    event.listen(engine, "checkout", lambda c, *_: c.execute("PRAGMA max_page_count = 100000"))
    store.instances.create(new_instance("after", prompt="x" * 50_000))
    assert store.instances.names() == sorted([*written, "after"])
    assert [i.metadata.resource_version for i in store.instances.list()].count(store.revision()) == 1


def test_whoever_prepares_too_long_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.1)
    path.parent.mkdir()
    with migrate._locked(path), pytest.raises(Retryable, match="another process"):  # noqa: SLF001 - plays the other process
        Store.open(path)
