"""One model server and one installation for all; each test has instances and a repository of its own."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.host_system import System, git, make_repository, running_system
from support.model_container import Model, model_container

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember failures, so that what containers said is shown for them and only for them."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]  # the hook's result is a report
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def model() -> Iterator[Model]:
    with model_container() as running:
        yield running


@pytest.fixture(scope="session")
def session_system(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("system")
    with running_system(directory, f"ccot{secrets.token_hex(3)}", model) as system:
        yield system


@pytest.fixture
def system(session_system: System, request: pytest.FixtureRequest) -> Iterator[System]:
    yield session_system
    if request.node.stash.get(FAILED, False):
        sys.stdout.write(session_system.cco("get", "instances", "-o", "yaml", check=False))
        sys.stdout.write(session_system.logs())
        listed = [
            "docker",
            "ps",
            "-a",
            "--filter",
            f"name=^/{session_system.prefix}-",
            "--format",
            "{{.Names}} {{.Status}}",
        ]
        sys.stdout.write(subprocess.run(listed, capture_output=True, text=True, timeout=30, check=False).stdout)


@pytest.fixture
def repository(system: System, tmp_path: Path) -> Iterator[Path]:
    """A registered repository of a name of its own; its instances are deleted after the test."""
    made = make_repository(tmp_path / f"shop-{secrets.token_hex(3)}")
    system.cco("init", str(made), "--name", made.name, "--no-manifest")
    yield made
    names = system.cco("get", "instances", "-o", "name").split()
    mine = [name for name in names if system.get(name.split("/")[1])["spec"]["repository"] == made.name]
    if mine:
        system.cco("delete", *mine, timeout=180)
    assert git(made, "fsck", "--no-dangling") == "", "the user's repository is sound"
