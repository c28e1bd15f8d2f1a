"""Reports and the connection they go out on, over a real socket."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from agent import link as link_module
from agent.board import Board, View
from agent.config import parse
from agent.disk import Disk, DiskMeter
from agent.facts import FileStatus, Hook, Launched
from agent.ledger import Acknowledgement
from agent.link import MAX_LINE, FrameError, Link, decode, encode
from agent.report import build, noteworthy, rfc3339
from agent.reporter import Reporter
from agent.session import Session
from agent.usage import Usage, UsageMeter
from support.agent_controller import AgentController

NEEDED = {"schema": 1, "name": "web", "uid": "u", "attempt": 3, "config_hash": "h", "session_id": "s"}
CONFIG = parse({**NEEDED, "workdir": "/w", "git_dir": "/g", "heartbeat_seconds": 0.3})


def test_frames() -> None:
    assert decode(encode({"type": "x", "text": "é\n"})) == {"type": "x", "text": "é\n"}
    assert encode({"type": "x", "text": "é\n"}).count(b"\n") == 1
    with pytest.raises(FrameError, match="longer than"):
        encode({"type": "x", "text": "x" * MAX_LINE})


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"type": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_message(line: bytes) -> None:
    with pytest.raises(FrameError):
        decode(line)


def test_a_report_has_every_field() -> None:
    session = Session("waiting", 1.5, "permission prompt", "Bash", 7, "s", last_activity=2.0)
    view = View(2, "r", (Acknowledgement("i", "rejected", "because", 3.0),), credentials=True)
    usage = Usage(1.5, 2, 3, 4, 5)
    report = build(CONFIG, boot="b", seq=9, now=4.0, session=session, view=view, usage=usage, disk=Disk(6, 7, 9, 8))
    assert report == {
        "type": "report",
        "schema": 1,
        "uid": "u",
        "attempt": 3,
        "boot": "b",
        "seq": 9,
        "sent_at": "1970-01-01T00:00:04.000Z",
        "config_hash": "h",
        "session": {
            "state": "waiting",
            "since": "1970-01-01T00:00:01.500Z",
            "waiting_for": "permission prompt",
            "tool": "Bash",
            "pid": 7,
            "session_id": "s",
            "exit_status": None,
            "exit_signal": None,
            "detail": None,
        },
        "tmux": {"session": "cc-orchestrator-web", "clients": 2},
        "usage": {
            "cpu_percent": 1.5,
            "memory_bytes": 2,
            "memory_limit_bytes": 3,
            "pids": 4,
            "oom_kills": 5,
            "worktree_bytes": 6,
            "home_bytes": 7,
            "disk_total_bytes": 9,
            "disk_free_bytes": 8,
        },
        "last_activity": "1970-01-01T00:00:02.000Z",
        "refs_version": "r",
        "inputs": [{"id": "i", "state": "rejected", "reason": "because", "at": "1970-01-01T00:00:03.000Z"}],
        "credentials": "present",
    }
    assert datetime.fromisoformat(rfc3339(1.25)).timestamp() == 1.25


def test_activity_alone_is_not_worth_a_report() -> None:
    session, view = Session("idle", 1.0), View()
    assert noteworthy(session, view) == noteworthy(replace(session, last_activity=5.0), view)
    assert noteworthy(session, view) != noteworthy(replace(session, tool="Bash"), view)
    assert noteworthy(session, view) != noteworthy(session, replace(view, clients=1))


class TestBoard:
    def test_listeners_hear_of_changes_only(self) -> None:
        board = Board("s")
        heard: list[str] = []
        board.listen(lambda: heard.append(board.session.state))
        board.learn(Launched(time.time(), 7, "s", prompted=False))
        board.learn(FileStatus(time.time(), "idle"))
        board.look_at_clock()
        board.see(View())
        board.see(View(clients=1))
        board.explain("because")
        board.explain("because")
        assert heard == ["starting", "idle", "idle", "idle"]
        assert board.session.detail == "because"

    def test_a_client_without_a_session_file(self) -> None:
        board = Board("s")
        board.learn(Hook(time.time() - 60, "SessionStart"))
        board.look_at_clock()
        assert board.session.state == "idle"


class Talk:
    """A link and a reporter in a thread of their own, against the tests' controller."""

    def __init__(self, folder: Path) -> None:
        self.received: list[dict[str, Any]] = []
        self.board = Board("s")
        self._folder = folder
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._tasks[0].cancel)
        self._thread.join(5)

    def call(self, what: Callable[[], object]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(what)

    def _connected(self) -> None:
        self._reporter.connected()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        link = Link(self._folder / "controller.sock", self.received.append, self._connected)
        self._reporter = reporter = Reporter(
            CONFIG, self.board, link, UsageMeter(Path("/sys/fs/cgroup")), DiskMeter([Path("/w")], Path("/h"))
        )
        work: list[Coroutine[Any, Any, None]] = [link.run(), reporter.run()]
        self._tasks = [asyncio.create_task(part) for part in work]
        self._ready.set()
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        await reporter.flush()
        self._tasks[1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def test_it_reports_at_once_and_as_a_heartbeat(tmp_path: Path) -> None:
    with AgentController(tmp_path, {"ANTHROPIC_API_KEY": "k"}) as control, Talk(tmp_path) as talk:
        control.wait_for(lambda r: r["seq"] == 1, 5)
        began = time.monotonic()
        talk.call(lambda: talk.board.explain("news"))
        control.wait_for(lambda r: r["session"]["detail"] == "news", 5)
        assert time.monotonic() - began < 0.25
        control.wait_for(lambda r: r["seq"] >= 5, 5)
        assert talk.received == [{"type": "credentials", "values": {"ANTHROPIC_API_KEY": "k"}}]


def test_what_changes_together_is_one_report(tmp_path: Path) -> None:
    with AgentController(tmp_path, {}) as control, Talk(tmp_path) as talk:
        control.wait_for(lambda r: r["seq"] == 1, 5)
        for number in range(100):
            talk.call(partial(talk.board.explain, str(number)))
        control.wait_for(lambda r: r["session"]["detail"] == "99", 5)
        assert control.reports[-1]["seq"] <= 3


def test_it_finds_a_controller_that_comes_late_and_comes_back(tmp_path: Path) -> None:
    with Talk(tmp_path) as talk:
        for _ in range(2):
            with AgentController(tmp_path, {}) as control:
                control.wait_for(lambda r: r["session"]["state"] == "starting", 8)
        assert [message["type"] for message in talk.received] == ["credentials", "credentials"]


def test_it_leaves_a_controller_that_was_replaced_while_it_is_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "LOOK_SECONDS", 0.05)
    with AgentController(tmp_path, {}) as paused, Talk(tmp_path):
        paused.wait_for(lambda r: r["seq"] == 1, 5)
        with AgentController(tmp_path, {}) as new:  # the old one neither closes its socket nor its connection
            new.wait_for(lambda r: r["session"]["state"] == "starting", 8)
            told = len(paused.reports)
            new.wait_for(lambda r: r["seq"] > new.reports[0]["seq"] + 1, 8)
            assert len(paused.reports) == told


def test_nonsense_is_passed_over_and_too_much_of_it_hung_up_on(tmp_path: Path) -> None:
    with AgentController(tmp_path, {}) as control, Talk(tmp_path) as talk:
        control.wait_for(lambda r: r["seq"] == 1, 5)
        control.send({"no": "type"})
        control.send({"type": "good"})
        control.wait_for(lambda _: {"type": "good"} in talk.received, 5)
        control.send({"type": "x", "text": "x" * MAX_LINE})
        seen = len(control.reports)
        control.wait_for(lambda r: r["seq"] > 0, 8, after=seen + 1)
        assert {"type": "good"} in talk.received


def test_a_report_too_long_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MAX_LINE", 2000)
    with AgentController(tmp_path, {}) as control, Talk(tmp_path) as talk:
        control.wait_for(lambda r: r["seq"] == 1, 5)
        talk.call(lambda: talk.board.explain("x" * 3000))
        talk.call(lambda: talk.board.explain("short"))
        control.wait_for(lambda r: r["session"]["detail"] == "short", 5)
        assert all(json.loads(line)["session"]["detail"] in {None, "short"} for line in control.lines)
