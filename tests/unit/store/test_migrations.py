from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, create_mock_engine
from sqlalchemy.dialects import postgresql

from controller.store import Store
from controller.store.migrations import HEAD, KNOWN
from controller.store.schema import metadata


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
