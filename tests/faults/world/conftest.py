"""One installation for all scenarios of this folder; each has a repository of its own, and deletes what it declared."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

import pytest

from faults.real_world import build_images
from faults.world.installation import Installation, World, installation
from faults.world.person import PERSON
from support.host_system import make_repository
from support.model_container import Model, model_container

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember failures: what a scenario left behind must not be taken for another one's fault."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]  # the hook's result is a report
        item.stash[FAILED] = True
    return report


class Shared:
    """The installation of the moment; a scenario that failed takes it along."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._stack = ExitStack()
        self._now: Installation | None = None

    def get(self) -> Installation:
        if self._now is None:
            self._now = self._stack.enter_context(installation(self._model))
        return self._now

    def drop(self) -> None:
        self._now = None
        self._stack.close()


@pytest.fixture(scope="session")
def model() -> Iterator[Model]:
    build_images()
    with model_container() as running:
        yield running


@pytest.fixture(scope="session")
def shared(model: Model) -> Iterator[Shared]:
    made = Shared(model)
    yield made
    made.drop()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    made = Path(mkdtemp(prefix="cco-person-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def world(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    place = shared.get()
    home = folder / "home"
    made = World(place, make_repository(home / f"shop-{secrets.token_hex(3)}", owner=PERSON))
    home.chmod(0o777)
    made.register()
    made.remember()
    yield made
    if request.node.stash.get(FAILED, False):
        sys.stdout.write(place.system.cco("get", "instances", "-o", "yaml", check=False))
        sys.stdout.write(place.system.logs()[-8000:])
        shared.drop()
        return
    try:
        made.close()
    except BaseException:
        shared.drop()
        raise
