"""A lost database where there is no Docker: it is put together again with the commands as they are printed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.host_system import make_repository
from support.together import Together, together


@pytest.fixture
def system() -> Iterator[Together]:
    with together({}) as made:
        made.environment["DOCKER_HOST"] = f"unix://{made.directory}/nobody.sock"
        yield made


def controller(system: Together, *arguments: str) -> subprocess.CompletedProcess[str]:
    return system.run_program(sys.executable, "-m", "controller", *arguments)


def test_it_is_rebuilt_as_the_messages_say(system: Together) -> None:
    system.up()
    system.cco("init", str(make_repository(system.directory / "shop")), "--no-manifest")
    system.end()
    for part in system.state_dir.glob("state.db*"):
        part.unlink()

    done = controller(system, "rebuild")  # the setting is docker, which might have carried something
    assert done.returncode == 1
    assert "'--without-runtime docker'" in done.stderr
    system.environment["CCO_RUNTIME"] = "process"
    done = controller(system, "rebuild")
    assert done.returncode == 0, done.stderr
    assert "repository shop: " in done.stdout
    del system.environment["CCO_RUNTIME"]
    done = controller(system, "rebuild", "--without-runtime", "docker")
    assert done.returncode == 0, done.stderr
    told = shlex.split(done.stdout.strip().rpartition("To put this back: ")[2])
    assert told[:3] == ["python", "-m", "controller"]
    done = controller(system, *told[3:])
    assert done.returncode == 0, done.stderr
    system.up()
    assert "shop" in system.cco("get", "repositories")
    assert system.end() == 0
