"""``cco web``: API and dashboard in the background."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator

import pytest

from support.model_container import free_port
from support.together import Together, together


@pytest.fixture
def system() -> Iterator[Together]:
    with together({}) as made:
        made.environment["DOCKER_HOST"] = f"unix://{made.directory}/nobody.sock"
        made.environment["CCO_RUNTIME"] = "process"
        try:
            yield made
        finally:
            made.run("web", "stop")


def cco(system: Together, *arguments: str, code: int = 0) -> str:
    done = system.run(*arguments)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def pid_of(system: Together) -> int:
    done = json.loads(system.run("web", "status", "-o", "json").stdout)
    assert done["answers"] is True
    assert isinstance(done["pid"], int)
    return done["pid"]


def test_it_starts_once_tells_how_it_is_and_stops(system: Together) -> None:
    address = f"http://127.0.0.1:{system.environment['CCO_PORT']}/"
    assert "does not run: 'cco web start'" in cco(system, "web", "status", code=6)
    assert "web does not run" in cco(system, "web", "stop")
    first = cco(system, "web", "start")
    assert f"web runs at {address}" in first
    assert "no controller answers" in first
    assert f"{address}login#token=" in cco(system, "dashboard")
    pid = pid_of(system)
    assert f"web runs already at {address} (process {pid})" in cco(system, "web", "start")
    assert "the controller is not running" in cco(system, "web", "status")
    assert "INFO ui.server: server started" in (system.state_dir / "web.log").read_text()
    assert cco(system, "web", "stop") == f"web stopped (process {pid})\n"
    assert "does not run" in cco(system, "web", "status", code=6)


def test_one_at_another_port_is_reached_as_it_says(system: Together) -> None:
    port = free_port("127.0.0.1")
    address = f"http://127.0.0.1:{port}"
    told = cco(system, "web", "start", "--port", str(port))
    (command,) = re.findall(r"log in with: cco (.*)", told)
    assert command == f"dashboard --open --server {address}"
    (setting,) = re.findall(r"'export CCO_SERVER=(.*)'", told)
    assert f"{address}/login#token=" in cco(system, *[word for word in command.split() if word != "--open"])
    system.environment["CCO_SERVER"] = setting
    assert "No instances" in cco(system, "get", "instances")
    told = cco(system, "web", "start", "--port", str(port))
    assert "runs already" in told
    assert told.splitlines()[0].endswith("log in with: cco dashboard --open"), "now commands go there by themselves"


def test_one_that_was_killed_is_not_believed_in(system: Together) -> None:
    cco(system, "web", "start")
    pid = pid_of(system)
    os.kill(pid, signal.SIGKILL)
    assert "does not run" in cco(system, "web", "status", code=6)
    cco(system, "web", "start")
    assert pid_of(system) != pid


def test_what_another_program_serves_is_left_alone(system: Together) -> None:
    system.up()
    assert "served already, by another program" in cco(system, "web", "start")
    assert "served by another program" in cco(system, "web", "status")
    assert "where it was started" in cco(system, "web", "stop", code=8)
    assert system.end() == 0


def test_what_keeps_it_from_starting_is_said(system: Together) -> None:
    with socket.create_server(("127.0.0.1", int(system.environment["CCO_PORT"]))):
        assert "CCO_PORT" in cco(system, "web", "start", code=1)
    assert "does not run" in cco(system, "web", "status", code=6)
