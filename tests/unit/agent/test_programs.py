"""The three small programs, run as Claude and tmux run them, against a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agent
from agent.hooks import EventSocket

FOLDER = Path(agent.__file__).parent


class Listener:
    """The agent's end, in a loop of its own for as long as a program runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[dict[str, Any]] = []
        self.delay = 0.0

    async def deal(self, event: dict[str, Any]) -> None:
        await asyncio.sleep(self.delay)
        self.events.append(event)

    def run(self, *command: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program while listening."""

        async def scenario() -> subprocess.CompletedProcess[bytes]:
            events = EventSocket(self.path, self.deal)
            await events.open()
            try:
                return await asyncio.to_thread(run, *command, stdin=stdin, socket=self.path, **environment)
            finally:
                await events.close()
                await events.close()

        return asyncio.run(scenario())


def run(*command: str, socket: Path, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    env = {"PATH": os.environ["PATH"], "CCO_AGENT_SOCKET": str(socket), **environment}
    return subprocess.run(
        [sys.executable, "-I", "-S", *command], input=stdin, env=env, capture_output=True, check=False
    )


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    yield Listener(tmp_path / "agent.sock")
    assert not (tmp_path / "agent.sock").exists()


class TestHook:
    hook = str(FOLDER / "hook.py")

    def test_an_event_is_handed_over_silently(self, listener: Listener) -> None:
        event = {"hook_event_name": "Stop", "text": "é" * 100_000}
        done = listener.run(self.hook, stdin=json.dumps(event).encode())
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert listener.events == [event]

    def test_it_returns_when_the_agent_has_dealt_with_it(self, listener: Listener) -> None:
        listener.delay = 0.3
        began = time.monotonic()
        listener.run(self.hook, stdin=b"{}")
        assert time.monotonic() - began > 0.3
        assert listener.events == [{}]

    def test_an_agent_that_hangs_costs_a_second(self, listener: Listener) -> None:
        listener.delay = 30
        began = time.monotonic()
        assert listener.run(self.hook, stdin=b"{}").returncode == 0
        assert time.monotonic() - began < 3

    def test_without_an_agent_it_is_as_silent(self, tmp_path: Path) -> None:
        done = run(self.hook, socket=tmp_path / "nobody", stdin=b"{}")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    @pytest.mark.parametrize("stdin", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
    def test_what_is_no_event_is_dropped(self, listener: Listener, stdin: bytes) -> None:
        assert listener.run(self.hook, stdin=stdin).returncode == 0
        assert listener.events == []

    def test_the_socket_is_closed_to_others(self, tmp_path: Path) -> None:
        async def scenario() -> int:
            path = tmp_path / "agent.sock"
            path.touch()
            events = EventSocket(path, Listener(path).deal)
            await events.open()
            mode = path.stat().st_mode
            await events.close()
            return mode

        mode = asyncio.run(scenario())
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600


class TestEditor:
    editor = str(FOLDER / "editor.py")

    def test_a_waiting_prompt_goes_into_the_box(self, listener: Listener, tmp_path: Path) -> None:
        (tmp_path / "prompt").write_bytes("tabs\tand ünïcode \n".encode())
        box = tmp_path / "claude-prompt-1.md"
        box.write_text("a draft")
        done = listener.run(self.editor, str(box))
        assert (done.returncode, done.stderr) == (0, b"")
        assert box.read_bytes() == "tabs\tand ünïcode \n".encode()
        assert not (tmp_path / "prompt").exists()
        assert listener.events[0]["cco_event"] == "prompt-taken"
        assert isinstance(listener.events[0]["pid"], int)

    def test_it_is_taken_once(self, listener: Listener, tmp_path: Path) -> None:
        (tmp_path / "prompt").write_text("once")
        first, second = tmp_path / "claude-prompt-1.md", tmp_path / "claude-prompt-2.md"
        second.write_text("a draft")
        assert listener.run(self.editor, str(first)).returncode == 0
        assert listener.run(self.editor, str(second), EDITOR="true").returncode == 0
        assert second.read_text() == "a draft"

    def test_other_programs_texts_are_left_alone(self, listener: Listener, tmp_path: Path) -> None:
        (tmp_path / "prompt").write_text("not for git")
        message = tmp_path / "COMMIT_EDITMSG"
        message.write_text("Begin")
        assert listener.run(self.editor, str(message), EDITOR="true").returncode == 0
        assert message.read_text() == "Begin"
        assert (tmp_path / "prompt").exists()

    def test_a_person_gets_their_editor(self, listener: Listener, tmp_path: Path) -> None:
        box = tmp_path / "claude-prompt-1.md"
        box.write_text("a draft")
        theirs = tmp_path / "theirs"
        theirs.write_text('#!/bin/sh\necho "by hand" > "$1"\n')
        theirs.chmod(0o755)
        assert listener.run(self.editor, str(box), EDITOR=str(theirs)).returncode == 0
        assert box.read_text() == "by hand\n"

    def test_without_an_editor_it_says_so(self, listener: Listener, tmp_path: Path) -> None:
        done = listener.run(self.editor, str(tmp_path / "claude-prompt-1.md"), PATH=str(tmp_path))
        assert done.returncode == 1
        assert b"no editor is installed" in done.stderr


class TestLaunch:
    def launch(self, tmp_path: Path, argv: list[str], **spec: object) -> subprocess.CompletedProcess[bytes]:
        file = tmp_path / "launch.json"
        file.write_text(json.dumps({"argv": argv, "env": {}, "env_files": {}, **spec}))
        return run(str(FOLDER / "launch.py"), str(file), socket=tmp_path / "s")

    def test_it_becomes_the_program(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("t")
        script = 'echo "$$ $1 $A $TOKEN"; cat /proc/self/oom_score_adj'
        argv = ["sh", "-c", script, "sh", "an argument"]
        done = self.launch(tmp_path, argv, env={"A": "b"}, env_files={"TOKEN": str(tmp_path / "token")})
        first, second = done.stdout.decode().splitlines()
        assert first.split(" ", 1)[1] == "an argument b t"
        assert int(second) >= 300

    def test_a_program_that_is_not_there(self, tmp_path: Path) -> None:
        done = self.launch(tmp_path, ["no-such-program"])
        assert done.returncode == 1
        assert b"no-such-program was not found on PATH" in done.stderr
