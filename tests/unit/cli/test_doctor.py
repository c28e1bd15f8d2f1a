"""``cco doctor``: with everything up, without a controller, without a server, without an engine; and what it mends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.release import program_version
from controller.resources.check import CATALOGUE, CheckStatus
from support.command_line import Cco
from support.fake_docker import FakeDocker
from support.installation import Installation
from support.ready_database import open_ready
from ui.cli.doctor import programs, visit
from ui.cli.exit_codes import ExitCode

Checks = dict[str, dict[str, Any]]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """The only docker there is."""
    fake = FakeDocker(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    return fake


@pytest.fixture
def healthy(installation: Installation, docker: FakeDocker) -> Installation:
    assert docker.folder.is_dir()
    installation.settings.state_dir.chmod(0o700)
    installation.world.engine.networks.add("cco")
    return installation


@pytest.fixture
def look(cco: Cco) -> Callable[..., Checks]:
    """Run the doctor, expect the exit code its findings deserve, and return them by name."""

    def run(*arguments: str) -> Checks:
        result = cco("doctor", "-o", "json", *arguments)
        found: Checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
        bad = any(check["status"] == "FAIL" for check in found.values())
        assert result.exit_code == (ExitCode.FAILED if bad else ExitCode.OK), result.output
        return found

    return run


def unwell(checks: Checks) -> dict[str, str]:
    return {name: check["status"] for name, check in checks.items() if check["status"] != "OK"}


def test_a_healthy_system(healthy: Installation, look: Callable[..., Checks]) -> None:
    assert healthy.address
    checks = look()
    assert unwell(checks) == {}, checks
    # The server was named by CCO_SERVER, so no port of this machine is of interest, and nothing runs without Docker.
    assert list(checks) == [kind.name for kind in CATALOGUE if kind.name not in {"port", "process"}]


def test_for_people(healthy: Installation, cco: Cco) -> None:
    healthy.engine_view.say(live_restore=False)
    text = cco.ok("doctor")
    headings = [line for line in text.splitlines() if line and not line.startswith(("OK", "WARN", " "))]
    assert headings == [
        *("This machine", "Server and controller", "Engine", "Storage and capacity", "Fleet"),
        f"{len(CATALOGUE) - 3} OK, 1 WARN",
    ]
    assert "WARN      live-restore       live-restore is off" in text
    assert yaml.safe_load(cco.ok("doctor", "-o", "yaml"))["checks"][0]["name"] == "configuration"


def test_an_engine_that_is_away_is_named(healthy: Installation, look: Callable[..., Checks]) -> None:
    healthy.world.engine.go_away()
    checks = look()
    assert checks["engine"]["status"] == "FAIL"
    assert checks["disk"]["status"] == "OK"


def test_without_a_controller_its_files_are_looked_at_here(healthy: Installation, look: Callable[..., Checks]) -> None:
    healthy.stop_streams()
    checks = look()
    assert unwell(checks) == {"controller": "FAIL"}
    assert {"disk", "database", "database-size"} <= set(checks)
    assert {"engine", "memory", "instances"} & set(checks) == set()


def test_a_wrong_token_is_told(healthy: Installation, look: Callable[..., Checks], tmp_path: Path) -> None:
    assert healthy.address
    other = tmp_path / "other-token"
    other.write_text("w" * 40)
    other.chmod(0o600)
    checks = look("--token-file", str(other))
    assert checks["server"]["status"] == "FAIL"
    assert "401" in checks["server"]["message"]


def test_the_port_is_ours_though_the_token_is_gone(
    healthy: Installation, look: Callable[..., Checks], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CCO_SERVER")
    monkeypatch.setenv("CCO_PORT", healthy.address.rsplit(":", 1)[1])
    monkeypatch.setenv("CCO_TOKEN_FILE", str(tmp_path / "gone"))
    checks = look()
    assert "401" in checks["server"]["message"]
    assert (checks["port"]["status"], "is our server's" in checks["port"]["message"]) == ("OK", True)


def test_versions_that_differ(
    healthy: Installation, look: Callable[..., Checks], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert healthy.address
    monkeypatch.setattr(visit, "release", lambda: "cc-orchestrator 9.9")
    checks = look()
    assert unwell(checks) == {"versions": "WARN"}
    assert f"this command line is 9.9 and the server {program_version()}" in checks["versions"]["message"]


def test_clocks_that_differ(
    healthy: Installation, look: Callable[..., Checks], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert healthy.address

    class Wrong:
        @staticmethod
        def time() -> float:
            return time.time() - 3600

    monkeypatch.setattr(visit, "time", Wrong)
    checks = look()
    assert unwell(checks) == {"clock-difference": "WARN"}
    assert "differ by 3600 s" in checks["clock-difference"]["message"]


# Without a server -------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory whose programs are all down, and a port that is free."""
    assert docker.folder.is_dir()
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        monkeypatch.setenv("CCO_PORT", str(probe.getsockname()[1]))
    path = tmp_path / "state"
    with open_ready(path / "state.db"):
        pass
    path.chmod(0o700)
    (path / "token").write_text("t" * 43)
    (path / "token").chmod(0o600)
    return path


def test_with_the_server_down(state: Path, look: Callable[..., Checks]) -> None:
    checks = look()
    assert unwell(checks) == {"server": "FAIL"}
    assert checks["server"]["fix"] == "cco up, or make up"
    assert "is free" in checks["port"]["message"]
    assert f"{state}/state.db is sound" in checks["database"]["message"]


def test_with_the_engine_down_as_well(state: Path, docker: FakeDocker, look: Callable[..., Checks]) -> None:
    assert state.is_dir()
    docker.go_away()
    checks = look()
    assert unwell(checks) == {"server": "FAIL", "docker": "FAIL"}
    assert "Cannot connect to the Docker daemon" in checks["docker"]["message"]


def test_before_the_first_start(state: Path, look: Callable[..., Checks]) -> None:
    shutil.rmtree(state)
    checks = look()
    assert unwell(checks) == {"server": "FAIL", "state-directory": "WARN", "token": "WARN"}
    assert "database" not in checks


def test_a_port_that_is_taken(state: Path, look: Callable[..., Checks]) -> None:
    assert state.is_dir()
    with closing(socket.create_server(("127.0.0.1", int(os.environ["CCO_PORT"])))) as other:
        answering = threading.Thread(target=answer_nonsense, args=(other,))
        answering.start()
        checks = look()
        other.shutdown(socket.SHUT_RDWR)
        answering.join(10)
    assert unwell(checks) == {"server": "FAIL", "port": "FAIL"}
    assert "taken by another program" in checks["port"]["message"]


def answer_nonsense(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")


def test_a_wrong_configuration(state: Path, tmp_path: Path, look: Callable[..., Checks]) -> None:
    assert state.is_dir()
    (tmp_path / "config.yaml").write_text("porrt: 80\n")
    checks = look()
    assert checks["configuration"]["status"] == "FAIL"
    assert "did you mean 'port'" in checks["configuration"]["message"]
    assert "docker" in checks
    assert "server" not in checks


def test_a_damaged_database_is_named(state: Path, look: Callable[..., Checks]) -> None:
    (state / "state.db").write_bytes(b"no database at all " * 500)
    assert unwell(look())["database"] == "FAIL"


# What it mends ----------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nothing_is_mended_unasked(state: Path, look: Callable[..., Checks]) -> None:
    state.chmod(0o755)
    (state / "token").chmod(0o644)
    checks = look()
    assert unwell(checks) == {"server": "FAIL", "state-directory": "FAIL", "token": "FAIL"}
    assert (mode(state), mode(state / "token")) == (0o755, 0o644)


def test_modes_and_leftovers_are_mended(state: Path, tmp_path: Path, cco: Cco, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("max_instances: 3\n")
    for path, open_to_all in ((state, 0o777), (state / "token", 0o666), (config, 0o666)):
        path.chmod(open_to_all)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        monkeypatch.chdir(state)  # the whole path may be too long for a socket
        listener.bind("controller.sock")
    result = cco("doctor", "--fix")
    assert result.exit_code == ExitCode.FAILED, "the server is still down"
    assert (mode(state), mode(state / "token"), mode(config)) == (0o700, 0o600, 0o644)
    assert not (state / "controller.sock").exists()
    fixed = [line for line in result.stdout.splitlines() if line.startswith("fixed: ")]
    assert len(fixed) == 4
    assert f"fixed: {state}: mode 0777 is now 0700" in fixed
    again = cco("doctor", "--fix")
    assert again.stdout.startswith("nothing to fix\n")


def test_the_network_is_made_by_the_controller(healthy: Installation, cco: Cco) -> None:
    healthy.world.engine.networks.clear()
    text = cco.ok("doctor")
    assert "'cco doctor --fix' mends: network" in text
    assert "network" not in "".join(healthy.world.engine.changes)
    told = json.loads(cco.ok("doctor", "--fix", "-o", "json"))
    assert [(repair["check"], repair["done"]) for repair in told["repairs"]] == [("network", True)]
    assert healthy.world.engine.changes == ["network cco"]
    assert all(check["status"] == CheckStatus.OK for check in told["checks"])


# Programs ---------------------------------------------------------------------------------------------------------


def test_programs_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.examine_docker(lambda: True).status is CheckStatus.WARN
    assert programs.examine_plugin("compose", "version").status is CheckStatus.WARN
    assert programs.examine_git().status is CheckStatus.WARN
    assert programs.examine_tmux("docker").status is CheckStatus.OK
    assert programs.examine_tmux("process").status is CheckStatus.FAIL


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_git_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    script(tmp_path, "git", "echo git version 2.30.2")
    finding = programs.examine_git()
    assert finding.status is CheckStatus.WARN
    assert "older than 2.38" in finding.message


def test_a_program_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    script(tmp_path, "docker", "exec sleep 60")
    assert programs.run_program("docker", "version", seconds=0.2) is None


def test_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs.examine_terminal().status is CheckStatus.OK
    monkeypatch.setattr("sys.stdout", Tty())
    monkeypatch.setattr("locale.getencoding", lambda: "ANSI_X3.4-1968")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    finding = programs.examine_terminal()
    assert finding.status is CheckStatus.WARN
    assert all(word in finding.message for word in ("TERM is dumb", "ANSI_X3.4-1968", "40 columns"))


class Tty:
    def isatty(self) -> bool:
        return True
