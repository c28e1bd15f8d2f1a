from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import Connection

from controller.store import Store
from controller.store.database import KEPT_CONNECTIONS
from controller.store.migrate import open_database
from support.power_cut import watching_the_disk

FULL = 2
"""https://www.sqlite.org/pragma.html#pragma_synchronous: the log is synchronised with the disk at each commit."""


def pragma(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_every_connection_waits_for_the_disk_before_a_commit_is_there(path: Path) -> None:
    with closing(open_database(path)) as database, ExitStack() as stack:
        crowd = [stack.enter_context(database.read()) for _ in range(KEPT_CONNECTIONS + 2)]
        crowd.append(stack.enter_context(database.write()))
        assert len({id(connection.connection.dbapi_connection) for connection in crowd}) == len(crowd)
        assert {pragma(connection, "journal_mode") for connection in crowd} == {"wal"}
        assert {pragma(connection, "synchronous") for connection in crowd} == {FULL}


def test_whose_directory_it_is_is_on_the_disk_before_it_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watching_the_disk(monkeypatch) as disk, Store.open(path):
        assert disk.has(path.with_name("installation"))
