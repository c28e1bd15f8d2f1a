from __future__ import annotations

import sqlite3
import stat
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, create_mock_engine
from sqlalchemy.dialects import postgresql

from controller.errors import Retryable
from controller.resources import InstanceManifest
from controller.store import Store, migrate
from controller.store.migrations import HEAD, KNOWN
from controller.store.schema import metadata

New = Callable[..., InstanceManifest]
IDENTITY = str(uuid.UUID(int=7))


def test_the_migrations_make_the_tables_of_the_schema(path: Path) -> None:
    Store.open(path).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_newest_migration_is_the_one_we_know() -> None:
    config = Config()
    config.set_main_option("path_separator", "newline")
    config.set_main_option("script_location", str(Path("controller/store/migrations").absolute()))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [HEAD]
    assert {script.revision for script in scripts.walk_revisions()} == KNOWN


def test_opening_again_changes_nothing(path: Path) -> None:
    with Store.open(path) as store:
        identity = store.installation_id
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    with Store.open(path) as store, Store.open(path) as second:
        assert store.installation_id == second.installation_id == identity
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before


def test_an_interrupted_first_start_is_repeated(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with Store.open(path) as store:
        assert store.revision() == 0


# Upgrades --------------------------------------------------------------------------------------------------------


@pytest.fixture
def first_version(path: Path, new_instance: New) -> Path:
    """A database as the first version left it: its schema, its files, rows of every table."""
    path.parent.mkdir(mode=0o700)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("path_separator", "newline")
        config.set_main_option("script_location", str(Path("controller/store/migrations").absolute()))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    spec = new_instance(prompt="hello").spec.model_dump_json()
    at, uid = "2026-01-01 00:00:00.000000", str(uuid.uuid4())
    common = (at, None, spec, '{"attempt": 3, "restarts": 2}')
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.execute("PRAGMA journal_mode = WAL")
        rows.execute("INSERT INTO installation VALUES (1, ?, 7, 6, 2)", (IDENTITY,))
        rows.execute(
            "INSERT INTO instances (uid, name, labels, generation, resource_version, created_version, desired_version,"
            " created_at, deletion_requested_at, spec, status, repository, branch)"
            " VALUES (?, 'web', '{\"a\": \"b\"}', 4, 6, 1, 5, ?, ?, ?, ?, 'shop', 'web')",
            (uid, *common),
        )
        rows.execute("INSERT INTO inputs VALUES ('i1', 'web', ?, 'do it', 'Pending', NULL, ?, NULL)", (uid, at))
        rows.execute(
            "INSERT INTO events VALUES (1, 'Instance', 'web', ?, 'Normal', 'A', 'm', 3, ?, ?, 7)", (uid, at, at)
        )
        rows.execute("INSERT INTO tombstones VALUES ('gone', 'Repository', 'old', 3, '{}')")
        rows.execute("INSERT INTO idempotency_keys VALUES ('k', 'h', 'Instance', ?, ?)", (uid, at))
    path.with_name("state.db.id").write_text(f"{IDENTITY}\n")
    return path


def tables(path: Path) -> dict[str, list[dict[str, object]]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in names}  # noqa: S608 - names of our own tables


def test_a_database_of_the_first_version_keeps_every_row(first_version: Path) -> None:
    before = tables(first_version)
    with Store.open(first_version) as store:
        after = tables(first_version)
        for name, rows in before.items():
            if name != "alembic_version":
                assert [old | new for old, new in zip(rows, after[name], strict=True)] == after[name], name
                assert [{key: new[key] for key in old} for old, new in zip(rows, after[name], strict=True)] == rows
        assert after["alembic_version"] == [{"version_num": HEAD}]
        web = store.instances.get("web")
        assert (web.spec.prompt, web.status.attempt, web.metadata.generation) == ("hello", 3, 4)
        assert [entry.text for entry in store.inputs.pending(web.metadata.uid)] == ["do it"]
        assert store.installation_id == IDENTITY
        assert store.revision() == 7, "nobody has to list again"
        assert store.integrity().problems == ()
        assert store.integrity().claim == (0, None)
        assert store.claim("me") == 1
    assert first_version.with_name("installation").read_text() == f"{IDENTITY}\n"
    engine = create_engine(f"sqlite:///{first_version}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_copy_is_kept_of_what_was_migrated(first_version: Path) -> None:
    before = tables(first_version)
    Store.open(first_version).close()
    Store.open(first_version).close()
    (copy,) = first_version.parent.glob("state.db.before-*")
    assert copy.name == f"state.db.before-{HEAD}"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert tables(copy) == before
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_only_so_many_copies_are_kept(first_version: Path) -> None:
    for number in range(5):
        first_version.with_name(f"state.db.before-000{number}").touch()
    Store.open(first_version).close()
    kept = sorted(copy.name for copy in first_version.parent.glob("state.db.before-*"))
    assert kept == ["state.db.before-0002", f"state.db.before-{HEAD}", "state.db.before-0004"]


def test_a_migration_that_fails_leaves_everything_as_it_was(
    first_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables(first_version)

    def fail(*_: object) -> None:
        raise Retryable("DiskFull", "a test says so")

    with monkeypatch.context() as patched:
        patched.setattr(migrate, "_catch_up", fail)  # the last step, everything is done before it
        with pytest.raises(Retryable):
            Store.open(first_version)
    assert tables(first_version) == before
    Store.open(first_version).close()
    assert tables(first_version)["alembic_version"] == [{"version_num": HEAD}]


def test_the_file_is_in_wal_mode_with_foreign_keys(path: Path, store: Store) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert store.revision() == 0


def test_nothing_in_the_schema_is_foreign_to_postgresql() -> None:
    statements: list[str] = []
    postgres = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    engine = create_mock_engine(
        "postgresql+psycopg://", lambda sql, *_, **__: statements.append(str(sql.compile(dialect=postgres)))
    )
    metadata.create_all(engine, checkfirst=False)
    assert sum("CREATE TABLE" in statement for statement in statements) == len(metadata.tables)
