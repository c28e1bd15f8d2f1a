"""A database that was migrated once and is copied for each test: opening it takes a hundredth of making it."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from controller.store import Store


@functools.cache
def _template() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="cco-template-")
    with Store.open(Path(folder.name) / "state.db"):
        pass
    return folder


def open_ready(path: Path) -> Store:
    """Open an empty store at the path."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("state.db", "installation"):
        shutil.copyfile(Path(_template().name) / name, path.with_name(name))
    return Store.open(path)
