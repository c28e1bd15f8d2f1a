"""``cco up`` without an instance: starting, refusing, ending."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from support.together import COMMAND, Together, together


@pytest.fixture
def system() -> Iterator[Together]:
    with together({}) as made:
        made.environment["DOCKER_HOST"] = f"unix://{made.directory}/nobody.sock"
        made.environment.pop("ANTHROPIC_API_KEY")
        yield made


def refused(system: Together, *arguments: str) -> str:
    """Return what ``cco up`` says before it ends by itself."""
    done = subprocess.run(
        [*COMMAND, "up", *arguments], env=system.environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_tells_what_matters_and_ends(system: Together, number: signal.Signals) -> None:
    system.up()
    told = system.log.read_text()
    assert f"runs at http://127.0.0.1:{system.environment['CCO_PORT']}/ (runtime process)" in told
    assert "NOT isolated" in told
    assert "nothing for Claude Code to log in with" in told
    assert system.process is not None
    assert f"process {system.process.pid} on" in refused(system)
    assert system.end(number) == 0
    assert not (system.state_dir / "controller.sock").exists()


def test_a_port_that_is_taken_is_named_and_everything_ends(system: Together) -> None:
    with socket.create_server(("127.0.0.1", int(system.environment["CCO_PORT"]))):
        assert "CCO_PORT" in refused(system)
    assert not system.state_dir.joinpath("state.db").exists(), "the controller never began"
    system.up()
    assert system.end() == 0


def test_a_port_that_our_own_web_has_is_told_as_such(system: Together) -> None:
    system.cco("web", "start")
    try:
        assert "end that with 'cco web stop'" in refused(system)
    finally:
        system.cco("web", "stop")


def test_an_unknown_runtime_is_named(system: Together) -> None:
    assert "'nonsense' is not installed; there is: docker, process" in refused(system, "--runtime", "nonsense")
