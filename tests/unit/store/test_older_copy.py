"""A database restored from a copy of an older day: nothing that was handed out since is handed out again."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from controller.errors import Retryable, StaleWrite
from controller.resources import InstanceManifest
from controller.store import RevisionGone, Store
from controller.store.high_water import EMPTY, MARGIN, HighWater, read_mark
from support.ready_database import open_ready

New = Callable[..., InstanceManifest]


@pytest.fixture
def lost(path: Path, tmp_path: Path, new_instance: New) -> Iterator[Store]:
    """A store whose copy was made after three changes and put back after ten; it has ``web`` and ``api``."""
    with open_ready(path) as store:
        for name in ("web", "api", "gone"):
            store.instances.create(new_instance(name))
        store.backup_to(tmp_path / "copy")
        spec = store.instances.get("web").spec
        for number in range(6):
            store.instances.update_spec("web", spec.model_copy(update={"prompt": f"{number}"}))
        store.instances.create(new_instance("later"))
        assert store.revision() == 10
    for file in path.parent.glob("state.db-*"):
        file.unlink()
    (tmp_path / "copy").replace(path)
    with Store.open(path) as restored:
        yield restored


def test_it_is_sound(path: Path, lost: Store) -> None:
    """Asked of SQLite itself, and of what the product says of it."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    found = lost.integrity()
    assert (found.problems, found.revision) == ((), 10 + MARGIN)


def test_counting_goes_on_behind_what_was_handed_out(lost: Store, new_instance: New) -> None:
    assert lost.revision() == 10 + MARGIN
    assert lost.instances.create(new_instance("next")).metadata.resource_version == 11 + MARGIN
    assert lost.instances.names() == ["api", "gone", "next", "web"]


@pytest.mark.parametrize("seen", [0, 3, 4, 9, 10, 11])
def test_whoever_watched_before_has_to_list_again(lost: Store, seen: int) -> None:
    """Even with a revision that the copy has, too: what was changed after it may be another thing by now."""
    assert lost.wait(seen, 30.0) > seen, "and is woken for it"
    with pytest.raises(RevisionGone):
        lost.changes(seen)
    assert lost.changes(lost.revision()) == []


def test_a_change_based_on_what_was_lost_is_refused(lost: Store) -> None:
    web = lost.instances.get("web")
    for version in range(4, 11):
        with pytest.raises(StaleWrite):
            lost.instances.update_spec("web", web.spec, resource_version=version)
    assert lost.instances.update_spec("web", web.spec, resource_version=1) == web


def test_prompts_still_come_after_those_before(lost: Store) -> None:
    made = lost.inputs.create("web", lost.instances.get("web").metadata.uid, "hello")
    assert made.id > f"{10:012d}"


def test_it_happens_once(path: Path, lost: Store) -> None:
    before = lost.revision()
    with Store.open(path) as again:
        assert again.revision() == before
        assert again.changes(before) == []


def test_a_crash_is_not_mistaken_for_it(path: Path, new_instance: New) -> None:
    with open_ready(path) as store:
        store.instances.create(new_instance())
        with Store.open(path) as other:  # the first one is still there, as after a kill
            assert other.revision() == 1
            assert len(other.changes(0)) == 1


def test_what_is_taken_back_is_not_counted(path: Path, store: Store, new_instance: New) -> None:
    with store.transaction(keep=False):
        store.instances.create(new_instance())
    with contextlib.suppress(ZeroDivisionError), store.transaction():
        store.instances.create(new_instance())
        raise ZeroDivisionError
    assert read_mark(path.with_name("state.db.mark")).revision == 0
    store.instances.create(new_instance())
    assert read_mark(path.with_name("state.db.mark")).revision == 1


@pytest.mark.parametrize("text", [b"", b"x", b"1", EMPTY[:10], b"\xff" * 50])
def test_a_damaged_mark_is_no_mark(path: Path, text: bytes) -> None:
    Store.open(path).close()
    path.with_name("state.db.mark").write_bytes(text)
    with Store.open(path) as store:
        assert store.revision() == 0


def test_a_mark_that_cannot_be_written_stops_nothing(path: Path, store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())
    path.with_name("state.db.mark").unlink()
    path.with_name("state.db.mark").mkdir()
    HighWater(path).raise_to(revision=5)
    store.instances.create(new_instance("b"))


# Copies ----------------------------------------------------------------------------------------------------------


def test_a_copy_is_whole_private_and_replaces_the_former_one(store: Store, tmp_path: Path, new_instance: New) -> None:
    target = tmp_path / "copy.db"
    target.write_text("the former one")
    store.instances.create(new_instance())
    with store.transaction():
        store.instances.create(new_instance("b"))
        store.backup_to(target)  # a writer at work is neither waited for nor seen
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT name FROM instances").fetchall() == [("web",)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert {file.name for file in tmp_path.iterdir()} == {"state", "copy.db"}


def test_a_copy_that_fails_leaves_no_half(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "copy.db"
    target.write_text("the former one")

    def full(*_: object) -> None:
        raise Retryable("DiskFull", "a test says so")

    monkeypatch.setattr("controller.store.database.Path.replace", full)
    with pytest.raises(Retryable):
        store.backup_to(target)
    assert target.read_text() == "the former one"
    assert not list(tmp_path.glob(".copy*"))


# Integrity -------------------------------------------------------------------------------------------------------


def test_a_sound_database_has_no_problems(store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())
    store.claim("somebody")
    found = store.integrity()
    assert found.problems == ()
    assert (found.installation_id, found.revision, found.claim) == (store.installation_id, 1, (1, "somebody"))


def test_what_is_damaged_is_named(path: Path, store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance())
    store.inputs.create("web", made.metadata.uid, "hello")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM instances")
    assert store.integrity().problems == ("row 1 of inputs refers to a row of instances that is not there",)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'ix_events_uid_id'")
        connection.execute("PRAGMA schema_version = 999")  # for those who have the file open
    assert any("never used" in problem for problem in store.integrity().problems)
