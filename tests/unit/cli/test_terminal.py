"""What only a terminal sees: lists and steps that stay in place, and attach becoming another program."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command_line import PROGRAM, ROOT
from support.installation import Installation
from ui.cli.exit_codes import ExitCode

LONGEST_SECONDS = 30.0
CURSOR_SHOWN = "\x1b[?25h"


class Screen:
    """A process on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.text = ""
        self._descriptor = descriptor

    def read_until(self, true: Callable[[str], bool]) -> str:
        """Read until what was written fulfils the condition; returns it."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while not true(self.text):
            assert time.monotonic() < deadline, self.text
            assert self._read(0.2) or self.process.poll() is None, self.text
        return self.text

    def wait(self) -> int:
        """Read the rest and return the exit code."""
        while self.process.poll() is None:
            self._read(0.1)
        while self._read(0.1):
            pass
        return self.process.returncode

    def _read(self, timeout: float) -> bool:
        if not select.select([self._descriptor], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux: the other end was closed
            return False
        self.text += data.decode()
        return bool(data)


@contextmanager
def on_a_terminal(*arguments: str) -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Screen(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture
def web(installation: Installation, shop: Path) -> Installation:
    assert shop.is_dir()
    installation.ready("web")
    return installation


def test_a_watched_list_stays_up_to_date_and_leaves_the_screen_as_it_was(web: Installation) -> None:
    with on_a_terminal("get", "instances", "--watch") as screen:
        screen.read_until(lambda text: "IDLE" in text)
        web.world.change("web", operating_mode="Stopped")
        screen.read_until(lambda text: "STOPPED" in text)
        screen.process.send_signal(signal.SIGINT)
        assert screen.wait() == ExitCode.INTERRUPTED
        assert CURSOR_SHOWN in screen.text
        assert "Traceback" not in screen.text


def test_spawn_draws_its_steps_in_colour(web: Installation) -> None:
    with on_a_terminal("spawn", "api") as screen:
        assert screen.wait() == 0, screen.text
        for name in ("workspace", "container", "session", "ready"):
            assert name in screen.text
        assert "✓" in screen.text
        assert "\x1b[36mIDLE\x1b[0m" in screen.text
    assert web.world.get("api").status.session is not None


def test_ctrl_c_ends_only_the_watching(web: Installation) -> None:
    web.resting = True
    with on_a_terminal("spawn", "api") as screen:
        screen.read_until(lambda text: "waiting for the controller" in text)
        screen.process.send_signal(signal.SIGINT)
        assert screen.wait() == ExitCode.INTERRUPTED
        assert screen.text.rstrip().endswith(CURSOR_SHOWN)
    assert web.world.get("api").metadata.deletion_requested_at is None


def test_no_color_is_no_colour(web: Installation) -> None:
    assert web.address
    with on_a_terminal("get", "instances", "--no-color") as screen:
        assert screen.wait() == 0
        assert "IDLE" in screen.text
        assert "\x1b" not in screen.text


def test_logs_cannot_write_to_the_terminal(web: Installation) -> None:
    """Clipboard, title, colours, a cleared screen: shown, not sent; and a megabyte without a line is only long."""
    (container,) = web.world.engine.of_uid(web.world.get("web").metadata.uid)
    container.logs[:] = [b"\x1b]52;c;cGF5bG9hZA==\x07\x1b]0;title\x07\x1b[2J\x9b31m<script>\rover\n", b"x" * 1_000_000]
    with on_a_terminal("logs", "web", "--no-color") as screen:
        assert screen.wait() == 0
        assert "\\x1b]52;c;cGF5bG9hZA==\\x07" in screen.text
        assert "<script>\\rover" in screen.text
        assert not set("\x1b\x07\x9b") & set(screen.text)
        assert screen.text.count("x" * 1000) > 900
        assert "Traceback" not in screen.text


def test_attach_becomes_the_command(web: Installation, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert web.address
    (shop / "docker").write_text('#!/bin/sh\necho "became: $*"\nexit 7\n')
    (shop / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(shop), prepend=os.pathsep)
    monkeypatch.setattr(
        "support.fake_runtime.FakeRuntime.attach_argv", lambda _self, _uid, argv: ("docker", "exec", "-it", "x", *argv)
    )
    with on_a_terminal("attach", "web") as screen:
        assert screen.wait() == 7
        assert "became: exec -it x tmux -u attach-session -t =cc-orchestrator-web" in screen.text
