"""``cco up`` before it starts anything; started it is in ``tests/integration/process``."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.settings import load_settings
from ui import together
from ui.cli import installed
from ui.cli.commands import up
from ui.cli.invocation import Invocation
from ui.cli.program import app


@pytest.fixture(autouse=True)
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers; and nothing to log in with is inherited."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[socket.socket]:
    """Something that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "nobody.sock"))
        listener.listen()
        yield listener


def test_without_an_engine_processes_are_chosen() -> None:
    assert together.choose_runtime(load_settings()).runtime == "process"


def test_an_engine_that_hangs_is_none(engine: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "PROBE_SECONDS", 0.3)
    began = time.monotonic()
    assert together.choose_runtime(load_settings()).runtime == "process"
    assert time.monotonic() - began < 5
    del engine


def test_an_engine_that_answers_is_chosen(engine: socket.socket) -> None:
    def answer() -> None:
        connection, _ = engine.accept()
        with connection:
            assert connection.recv(1000).startswith(b"GET /_ping ")
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nOK")

    thread = threading.Thread(target=answer)
    thread.start()
    assert together.choose_runtime(load_settings()).runtime == "docker"
    thread.join(5)


def test_what_was_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert together.choose_runtime(load_settings(runtime="docker")).runtime == "docker"
    monkeypatch.setenv("CCO_RUNTIME", "docker")
    assert together.choose_runtime(load_settings()).runtime == "docker"


def test_what_is_not_installed_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "PACKAGES", ("json", "no_such_package"))
    result = CliRunner().invoke(app, ["up"])
    assert result.exit_code == 1
    assert "no_such_package" in result.stderr
    assert "pip install 'cc-orchestrator[server,agent]'" in result.stderr


def test_what_make_up_kept_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    kept = settings.state_dir / "secrets" / "claude.env"
    kept.parent.mkdir(parents=True)
    kept.write_text("ANTHROPIC_API_KEY=x\n")
    monkeypatch.delenv("CCO_SECRETS_FILE", raising=False)
    together._use_kept_credentials(settings)  # noqa: SLF001  # what it does cannot be seen from outside
    assert os.environ.pop("CCO_SECRETS_FILE") == str(kept)


@pytest.mark.parametrize("elsewhere", [True, False])
def test_how_to_reach_it_is_said_for_its_own_port(*, elsewhere: bool, capsys: pytest.CaptureFixture[str]) -> None:
    address = "http://127.0.0.1:18125" if elsewhere else load_settings().url
    up._announce(Invocation(), together.Announcement(address, "process", ()))  # noqa: SLF001  # it is not run here
    told = capsys.readouterr().err
    assert ("dashboard --open --server http://127.0.0.1:18125" in told) is elsewhere
    assert ("export CCO_SERVER=http://127.0.0.1:18125" in told) is elsewhere
    assert "log in with: cco dashboard --open" in told


def test_web_can_be_asked_about_where_only_the_command_line_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for package in installed.PACKAGES:
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "ui.background", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("CCO_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("CCO_STATE_DIR", str(tmp_path / "state"))
    for verb, code in (("status", 6), ("stop", 0)):
        result = CliRunner().invoke(app, ["web", verb])
        assert result.exit_code == code, result.output
        assert "does not run" in result.output
