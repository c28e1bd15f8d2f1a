"""tmux itself, with small programs in Claude's place."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent import viewers
from agent.layouts import LAYOUTS, UnknownLayoutError, find
from agent.terminal import Ending, Terminal, TerminalError
from controller.resources import LAYOUTS as DECLARABLE


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tmux socket of the test's own; its path has to be short."""
    made = Path(tempfile.mkdtemp(prefix="cco-"))
    monkeypatch.setenv("TMUX_TMPDIR", str(made))
    monkeypatch.delenv("TMUX", raising=False)
    # Nobody's own start-up files.
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.setenv("SHELL", "/bin/sh")
    yield made
    shutil.rmtree(made)


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    made = Terminal("cc-orchestrator-web")
    yield made
    made.kill()
    assert folder.exists()


def start(terminal: Terminal, folder: Path, script: str, layout: str = "default") -> int:
    spec = folder / "launch.json"
    spec.write_text(json.dumps({"argv": ["sh", "-c", script], "env": {}, "env_files": {}}))
    return terminal.start(find(layout), folder, spec)


def tmux(*arguments: str) -> list[str]:
    return subprocess.run(["tmux", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()


def wait_for(wanted: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_program_is_the_panes_own_process(terminal: Terminal, folder: Path) -> None:
    pid = start(terminal, folder, "echo ready; cat")
    wait_for(lambda: "ready" in terminal.screen())
    assert Path(f"/proc/{pid}/comm").read_text().strip() == "sh"
    assert Path(f"/proc/{pid}/cwd").resolve() == folder.resolve()
    assert Path(terminal.socket).is_socket()


def test_keys_are_pressed_and_the_screen_is_read(terminal: Terminal, folder: Path) -> None:
    start(terminal, folder, "cat")
    terminal.press("h", "i", "Enter")
    wait_for(lambda: terminal.screen().splitlines()[:2] == ["hi", "hi"])


@pytest.mark.parametrize(
    ("script", "ending"),
    [("exit 3", Ending(status=3)), ("exit 0", Ending(status=0)), ("kill -9 $$", Ending(signal=9))],
)
def test_how_it_ended(terminal: Terminal, folder: Path, script: str, ending: Ending) -> None:
    start(terminal, folder, f"echo last words; {script}")
    wait_for(lambda: terminal.ending() is not None)
    assert terminal.ending() == ending
    assert "last words" in terminal.screen()


def test_while_it_runs_it_has_not_ended(terminal: Terminal, folder: Path) -> None:
    pid = start(terminal, folder, "sleep 60")
    assert terminal.ending() is None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: terminal.ending() == Ending(signal=9))


def test_a_shell_that_ends_takes_its_window_along(terminal: Terminal, folder: Path) -> None:
    start(terminal, folder, "sleep 60")
    assert tmux("list-windows", "-F", "#W") == ["claude", "shell"]
    tmux("send-keys", "-t", "=cc-orchestrator-web:shell", "exit", "Enter")
    wait_for(lambda: tmux("list-windows", "-F", "#W") == ["claude"])


def test_a_layout_without_shells(terminal: Terminal, folder: Path) -> None:
    start(terminal, folder, "sleep 60", layout="claude")
    assert tmux("list-windows", "-F", "#W") == ["claude"]


def test_a_session_from_before_is_replaced(terminal: Terminal, folder: Path) -> None:
    first = start(terminal, folder, "sleep 60")
    second = start(terminal, folder, "sleep 60")
    assert first != second
    wait_for(lambda: not Path(f"/proc/{first}").exists())


def test_viewers_are_counted(terminal: Terminal, folder: Path) -> None:
    start(terminal, folder, "sleep 60")
    assert terminal.clients() == 0
    wait_for(lambda: viewers.connections(terminal.socket) == 0)
    pid, descriptor = os.forkpty()
    if pid == 0:
        os.execvp("tmux", ["tmux", "attach"])  # noqa: S606 - no shell is what is wanted
    try:
        wait_for(lambda: viewers.connections(terminal.socket) == 1)
        wait_for(lambda: terminal.clients() == 1)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(descriptor)
    wait_for(lambda: viewers.connections(terminal.socket) == 0)
    assert terminal.clients() == 0


def test_a_tmux_that_is_gone(terminal: Terminal, folder: Path) -> None:
    start(terminal, folder, "sleep 60")
    terminal.kill()
    terminal.kill()
    assert terminal.clients() == 0
    for call in (terminal.ending, terminal.screen, lambda: terminal.press("Enter")):
        with pytest.raises(TerminalError):
            call()


def test_a_tmux_that_cannot_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_long = folder / ("x" * 100)
    too_long.mkdir()
    monkeypatch.setenv("TMUX_TMPDIR", str(too_long))
    with pytest.raises(TerminalError, match=r"too long|could not make"):
        start(Terminal("cc-orchestrator-web"), folder, "sleep 60")


def test_layouts_by_name() -> None:
    assert tuple(sorted(LAYOUTS)) == DECLARABLE, "what can be declared is what the agent has"
    assert find("default").shells == ("shell",)
    with pytest.raises(UnknownLayoutError, match=f"the layouts are: {', '.join(sorted(LAYOUTS))}"):
        find("spiral")
