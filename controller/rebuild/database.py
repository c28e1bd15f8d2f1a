"""The new database: made aside, filled, checked, and put in the place of the lost one in one step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from controller.errors import AlreadyExists, CcoError, Terminal
from controller.resources import EventType, Kind
from controller.store import Store

from .evidence import Evidence

FOLDER = "rebuilding"
_SUFFIXES = ("", "-wal", "-shm")


def damage(path: Path) -> str | None:
    """Return in a sentence's end what is wrong with the database; ``None`` when it is simply not there.

    Raises:
        Terminal: ``DatabaseSound``: it must not be replaced; or it is not ours to replace.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        with Store.open(path) as store:
            problems = store.integrity().problems
    except CcoError as error:
        if error.reason == "DatabaseCorrupt":
            return error.message
        raise
    if problems:
        return "; ".join(problems)
    raise Terminal(
        "DatabaseSound",
        f"{path} can be read and is whole, so there is nothing to rebuild: 'python -m controller run' starts with it; "
        "to rebuild all the same, move it away first",
    )


def make(path: Path, installation_id: str, found: Evidence) -> list[str]:
    """Make a database with everything that was found, and put it where the lost one was.

    Interrupted anywhere, it can be begun again.

    Returns:
        For people: what could not be put back, because something else has its name or branch.

    Raises:
        CcoError: it could not be made; what was there is still there.
    """
    folder = path.with_name(FOLDER)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        with Store.make(folder / path.name, installation_id) as store:
            refused = _fill(store, found)
            if problems := store.integrity().problems:
                raise Terminal("DatabaseCorrupt", f"the new database is damaged already ({'; '.join(problems)})")
        (folder / path.name).replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    Store.open(path).close()  # counts on from where the lost one was, and gives the file to whom the folder belongs
    return refused


def _fill(store: Store, found: Evidence) -> list[str]:
    refused = []
    with store.transaction():
        for repository in found.repositories.values():
            store.repositories.restore(repository)
            meta = repository.metadata
            store.events.record(
                Kind.REPOSITORY, meta.name, meta.uid, EventType.WARNING, "Rebuilt", _told("its manifest")
            )
        for known in found.instances.values():
            meta = known.instance.metadata
            try:
                store.instances.restore(known.instance)
            except AlreadyExists as error:  # before anything of it was written
                refused.append(f"instance {meta.name} (uid {meta.uid}) was left out: {error.message}")
                continue
            store.events.record(Kind.INSTANCE, meta.name, meta.uid, EventType.WARNING, "Rebuilt", _told(known.source))
    return refused


def _told(source: str) -> str:
    return f"the database was lost; this was put back from {source}"


def set_aside(path: Path, now: datetime) -> list[Path]:
    """Move what is left of the lost database out of the way, never away; returns where it is now."""
    return list(_move(path, f"{path.name}.damaged-{now:%Y%m%dT%H%M%SZ}"))


def _move(path: Path, name: str) -> Iterator[Path]:
    for suffix in _SUFFIXES:
        part = path.with_name(f"{path.name}{suffix}")
        if part.exists():
            target = path.with_name(f"{name}{suffix}")
            part.rename(target)
            yield target
