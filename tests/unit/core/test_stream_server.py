"""The server on the controller's socket: who may connect, what stays behind, and what a bad caller can do to it."""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
import stat
import threading
from pathlib import Path

import httpx
import pytest

from controller.errors import Fenced
from controller.reconcile.actions import Plan
from controller.resources import Instance
from controller.streams import StreamServer, server
from support.deadline import eventually
from support.fake_engine import FakeContainer
from support.served_streams import (
    LONGEST_SECONDS,
    ask,
    client,
    container,
    impatient,
    path,
    served,
    streams,
)

__all__ = ["client", "container", "impatient", "path"]


def test_only_its_owner_may_connect_and_nothing_stays(path: Path, container: FakeContainer) -> None:
    path.write_text("what a crashed controller left")
    serving = StreamServer(path, streams(container).routes())
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    serving.start()
    assert ask(path) == 200
    serving.stop()
    assert not path.exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "streams"]


def test_a_server_that_never_began_can_be_stopped(path: Path, container: FakeContainer) -> None:
    serving = StreamServer(path, streams(container).routes())
    path.unlink()
    serving.stop()


def test_one_who_was_replaced_leaves_the_other_one_s_socket(path: Path, container: FakeContainer) -> None:
    replaced = StreamServer(path, streams(container).routes())
    serving = StreamServer(path, streams(container).routes())
    serving.start()
    replaced.stop()
    assert ask(path) == 200
    serving.stop()


def test_a_socket_that_was_removed_is_made_again(path: Path, container: FakeContainer) -> None:
    serving = StreamServer(path, streams(container).routes())
    serving.start()
    try:
        for _ in range(2):
            path.unlink()
            eventually(path.exists, timeout=LONGEST_SECONDS, what="it is back")
            eventually(lambda: ask(path) == 200, timeout=LONGEST_SECONDS, what="it answers")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        serving.stop()
    assert not path.exists()


def test_what_is_in_the_place_of_a_socket_is_left(path: Path, container: FakeContainer) -> None:
    serving = StreamServer(path, streams(container).routes())
    serving.start()
    path.unlink()
    path.write_text("somebody else's")
    threading.Event().wait(3 * server.POLL_SECONDS)
    serving.stop()
    assert path.read_text() == "somebody else's"


def test_one_who_was_overtaken_does_not_come_back(
    path: Path, container: FakeContainer, caplog: pytest.LogCaptureFixture
) -> None:
    def overtaken() -> None:
        raise Fenced("Fenced", "another controller has taken over")

    serving = StreamServer(path, streams(container).routes(), overtaken)
    serving.start()
    path.unlink()
    eventually(lambda: "could not be made again" in caplog.text, timeout=LONGEST_SECONDS, what="it is told")
    threading.Event().wait(2 * server.POLL_SECONDS)
    serving.stop()
    assert not path.exists()
    assert len(caplog.records) == 1, "once"


def test_one_who_does_not_wait_for_the_answer_is_no_error(
    path: Path, container: FakeContainer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    asked, gone = threading.Event(), threading.Event()

    def slow(instance: Instance) -> Plan:
        del instance
        asked.set()
        gone.wait(LONGEST_SECONDS)
        return Plan()

    caplog.set_level(logging.DEBUG, logger="controller.streams")
    with served(path, streams(container, slow)) as client:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /instances/web/plan HTTP/1.1\r\n\r\n")
            assert asked.wait(LONGEST_SECONDS)
        gone.set()
        eventually(
            lambda: "stream connection broke" in caplog.text, timeout=LONGEST_SECONDS, what="the end", pause=0.005
        )
        assert client.get("/health").status_code == 200
    assert "Traceback" not in capfd.readouterr().err
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_request_is_a_line_of_the_log_for_those_who_want_details(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG, logger="controller.streams"):
        client.get("/health")
    assert "GET /health" in caplog.text
    assert capfd.readouterr().err == ""


def test_who_knocks_while_no_file_can_be_opened_is_let_in_later_and_nothing_spins(
    path: Path, container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[float] = []

    def full(_: object) -> None:
        refused.append(0.0)
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(server, "FULL_SECONDS", 0.05)
    with served(path, streams(container)) as client, monkeypatch.context() as patched:
        patched.setattr(socketserver.TCPServer, "get_request", full)
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(client.get("/health").status_code))
        asking.start()
        eventually(lambda: len(refused) >= 2, timeout=LONGEST_SECONDS, what="it was refused twice")
        assert len(refused) < 100
        patched.undo()
        asking.join(LONGEST_SECONDS)
    assert answers == [200]
