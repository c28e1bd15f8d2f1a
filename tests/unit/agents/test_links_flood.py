"""What one agent does costs the others nothing: floods of lines, of connections, of changes, of words in the log."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from controller.agents import AgentLinks, credentials, link
from controller.agents.report import MAX_LINE
from controller.errors import Retryable
from support.agent_peer import KEY, LONGEST_SECONDS, Peer, Woken, last_seq, until
from support.looks import UID

OTHERS = tuple(f"0000000{number}-0000-4000-8000-000000000000" for number in range(1, 4))


class CountedSecrets:
    def __init__(self) -> None:
        self.times = 0

    def read(self) -> Mapping[str, str]:
        self.times += 1
        return KEY


@pytest.fixture
def counted() -> CountedSecrets:
    return CountedSecrets()


@pytest.fixture
def fleet(tmp_path: Path, counted: CountedSecrets, woken: Woken) -> Iterator[AgentLinks]:
    made = AgentLinks(lambda name: tmp_path / name, counted.read, woken)
    made.open("web", UID)
    yield made
    made.close()


@contextmanager
def going_on(act: Callable[[], object]) -> Iterator[None]:
    """Do it again and again while the block runs."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            with suppress(OSError):
                act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LONGEST_SECONDS)


def answers_others(links: AgentLinks, folder: Path) -> float:
    """Return the seconds that another instance's start and its first report take."""
    began = time.monotonic()
    for uid in OTHERS:
        links.open(uid, uid)
        with Peer(folder / uid) as agent:
            agent.hears()
            agent.reports(uid=uid)
            until(lambda uid=uid: links.heard(uid), "the report")  # type: ignore[misc]  # bound at once
        links.forget(uid)
    return (time.monotonic() - began) / len(OTHERS)


FLOODS = {
    "no words": b"\n" * 65536,
    "no messages": b"{}\n" * 20000,
    "half messages": b'{"type": "report", "schema": 1}\n' * 2000,
    "messages of a later version": b'{"type": "news"}\n' * 4000,
    "another's reports": b'{"type": "report", "schema": 2}\n' * 2000,
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of(
    name: str, fleet: AgentLinks, tmp_path: Path, woken: Woken, caplog: pytest.LogCaptureFixture
) -> None:
    with Peer(tmp_path / "web") as hostile:
        hostile.hears()
        hostile.reports(seq=7)
        assert woken.times(1)
        hostile.socket.settimeout(0.1)
        with going_on(lambda: hostile.socket.sendall(FLOODS[name])):
            assert answers_others(fleet, tmp_path) < 0.5
            assert answers_others(fleet, tmp_path) < 0.5
        assert (heard := fleet.heard(UID)) is not None
        assert heard.connected, "a connection that is cut off would only come again"
    assert len([message for message in caplog.messages if "ignored" in message]) <= 1


def test_a_long_line_in_small_pieces_is_not_looked_through_again_and_again(fleet: AgentLinks, tmp_path: Path) -> None:
    with Peer(tmp_path / "web") as hostile:
        hostile.socket.sendall(b"x" * (MAX_LINE - 200_000))
        hostile.socket.settimeout(0.1)
        with going_on(lambda: hostile.socket.send(b"x")):
            assert answers_others(fleet, tmp_path) < 0.5


def test_a_flood_of_connections(fleet: AgentLinks, tmp_path: Path, counted: CountedSecrets, woken: Woken) -> None:
    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as hostile:
            hostile.settimeout(0.1)
            hostile.connect(str(tmp_path / "web" / "controller.sock"))

    began = time.monotonic()
    with going_on(connect):
        assert answers_others(fleet, tmp_path) < 0.5
        time.sleep(1.0)
    seconds = time.monotonic() - began
    assert counted.times <= 12 * seconds + 10
    assert woken.names.count("web") <= 12 * seconds + 10
    time.sleep(2.0)  # those that wait in the kernel come first
    with Peer(tmp_path / "web") as agent:
        agent.reports(seq=5)
        until(lambda: last_seq(fleet) == 5, "the report of an honest agent afterwards")


def test_a_flood_of_changes_causes_some_passes_and_one_for_the_last(
    fleet: AgentLinks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(fleet, "_on_change", lambda _: seen.append(last_seq(fleet)))
    with Peer(tmp_path / "web") as agent:
        for seq in range(1, 91):
            agent.reports(seq=seq, refs_version=f"r{seq}")
        until(lambda: seen and seen[-1] == 90, "the pass for the last")
        assert len(seen) <= link.WAKES_PER_SECOND * 3


def test_an_agent_may_say_all_it_has_to_say_without_a_pause(fleet: AgentLinks, tmp_path: Path) -> None:
    with Peer(tmp_path / "web") as agent:
        began = time.monotonic()
        for seq in range(1, 91):
            agent.reports(seq=seq)
            until(lambda seq=seq: last_seq(fleet) == seq, "the report")  # type: ignore[misc]  # bound at once
        assert time.monotonic() - began < 0.9


def test_what_a_later_version_says_besides_holds_up_no_report(fleet: AgentLinks, tmp_path: Path) -> None:
    with Peer(tmp_path / "web") as agent:
        began = time.monotonic()
        for _ in range(20):
            agent.says(b'{"type": "news", "of": "later"}')
            agent.says(b'{"type": "report", "schema": 2}')
        agent.reports(seq=5)
        until(lambda: last_seq(fleet) == 5, "the report")
        assert time.monotonic() - began < 0.9


def test_credentials_are_looked_at_once_a_second_for_all(
    fleet: AgentLinks, tmp_path: Path, counted: CountedSecrets
) -> None:
    with Peer(tmp_path / "web") as agent:
        agent.hears()
        before, began = counted.times, time.monotonic()
        for seq in range(1, 51):
            agent.reports(seq=seq)
        until(lambda: last_seq(fleet) == 50, "the last report")
        assert counted.times - before <= (time.monotonic() - began) / credentials.LOOK_SECONDS + 1


def test_links_that_do_not_answer_are_said_to_be_busy(fleet: AgentLinks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CALL_TIMEOUT", 0.05)
    free = threading.Event()
    fleet._loop.call_soon_threadsafe(free.wait, LONGEST_SECONDS)  # noqa: SLF001  # nothing of ours takes so long
    try:
        for act in (
            lambda: fleet.open("api", OTHERS[0]),
            lambda: fleet.send_input(UID, "input-1", "go on"),
            lambda: fleet.forget(UID),
        ):
            with pytest.raises(Retryable, match=r"busy for 0\.05 s") as caught:
                act()
            assert caught.value.reason == "Busy"
    finally:
        free.set()
    monkeypatch.undo()
    fleet.open("api", OTHERS[0])
    assert fleet.listening_for(OTHERS[0]) > 0.0
