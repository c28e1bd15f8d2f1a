"""The controller's sockets as agents meet them: real unix sockets, well-behaved and hostile peers."""

from __future__ import annotations

import gc
import json
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.agents import AgentConfig, AgentLinks, listener
from controller.agents.report import MAX_LINE
from controller.errors import Fenced, Retryable
from support.agent_peer import Peer, Secrets, Woken, last_seq, until
from support.looks import UID, instance, report, wanted

# Reports -------------------------------------------------------------------------------------------------------


def test_who_never_said_anything_was_not_heard(links: AgentLinks) -> None:
    assert links.heard(UID) is None
    assert links.heard("nobody") is None
    assert links.all_heard() == {}
    assert links.listening_for("nobody") == 0.0
    assert 0.0 < links.listening_for(UID) < 10.0


def test_a_report_is_heard_and_wakes_the_instance(links: AgentLinks, run_folder: Path, woken: Woken) -> None:
    with Peer(run_folder) as agent:
        agent.reports("working", usage={"memory_bytes": 7})
        assert woken.times(1)
        heard = links.heard(UID)
        assert heard is not None
        assert heard.report == report("working", usage={"memory_bytes": 7})
        assert heard.connected
        assert 0.0 <= heard.age < 10.0
        assert links.all_heard().keys() == {UID}
    assert woken.times(2), "the end of the connection is news"
    until(lambda: not (links.heard(UID) or heard).connected, "the end of the connection")
    assert woken.names == ["web", "web"]


def test_only_what_matters_wakes_the_instance(links: AgentLinks, run_folder: Path, woken: Woken) -> None:
    with Peer(run_folder) as agent:
        agent.reports(seq=1)
        agent.reports(seq=2, usage={"cpu_percent": 50.0})
        agent.reports("working", seq=3)
        assert woken.times(2)
        until(lambda: last_seq(links) == 3, "the third report")
        assert len(woken.names) == 2


NOISE: dict[str, bytes] = {
    "not JSON": b"hello",
    "not text": b"\xff\xfe\x00",
    "nothing": b"",
    "JSON and no object": b"[1, 2]",
    "deep JSON": b"[" * 10_000,
    "another kind of message": b'{"type": "greeting"}',
    "half a report": b'{"type": "report", "schema": 1, "uid": "x"}',
    "a report from the future": report().model_dump_json(by_alias=True).replace('"schema":1', '"schema":2').encode(),
    "a field that is too long": report(refs_version="r")
    .model_dump_json(by_alias=True)
    .replace('"r"', f'"{"r" * 201}"')
    .encode(),
    "another instance's report": report(uid="somebody else").model_dump_json(by_alias=True).encode(),
}


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_ignored_and_the_connection_stays(name: str, links: AgentLinks, run_folder: Path) -> None:
    with Peer(run_folder) as agent:
        agent.says(NOISE[name])
        agent.reports(seq=5)
        until(lambda: last_seq(links) == 5, "the report after the noise")


def test_unknown_fields_of_a_newer_agent_are_ignored(links: AgentLinks, run_folder: Path) -> None:
    body = json.loads(report(seq=5).model_dump_json(by_alias=True))
    body["session"]["mood"] = "curious"
    with Peer(run_folder) as agent:
        agent.says(json.dumps({**body, "weather": "fine"}).encode())
        until(lambda: last_seq(links) == 5, "the report")


def test_a_line_without_an_end_is_cut_off(
    links: AgentLinks, run_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Peer(run_folder) as agent:
        agent.hears()
        with pytest.raises(ConnectionError):
            agent.socket.sendall(b"x" * (8 * MAX_LINE))
    until(lambda: "agent connection dropped" in caplog.messages, "the word about it")
    with Peer(run_folder) as agent:
        agent.reports(seq=5)
        until(lambda: last_seq(links) == 5, "the report of the next connection")


def test_the_longest_line_is_read(links: AgentLinks, run_folder: Path) -> None:
    line = report(seq=5).model_dump_json(by_alias=True)[:-1] + ', "padding": "'
    with Peer(run_folder) as agent:
        agent.says((line + "x" * (MAX_LINE - len(line) - 3)).encode() + b'"}')
        until(lambda: last_seq(links) == 5, "the report")


# Connections ----------------------------------------------------------------------------------------------------


def test_a_new_connection_replaces_the_old_one(links: AgentLinks, run_folder: Path, woken: Woken) -> None:
    with Peer(run_folder) as old:
        old.hears()
        old.reports(boot="old")
        assert woken.times(1)
        with Peer(run_folder) as new:
            new.hears()
            assert old.is_cut_off()
            new.reports(boot="new")
            assert woken.times(2)
            assert links.send_input(UID, "input-1", "go on")
            assert new.hears()["id"] == "input-1"
            assert (heard := links.heard(UID)) is not None
            assert heard.connected
        assert woken.times(3)
    assert woken.names == ["web"] * 3, "the end of a connection that was replaced is no news"


def test_a_socket_that_was_removed_is_made_again(links: AgentLinks, run_folder: Path) -> None:
    (run_folder / "controller.sock").unlink()
    links.open("web", UID)
    with Peer(run_folder) as agent:
        agent.reports(seq=5)
        until(lambda: last_seq(links) == 5, "the report")


def test_opening_again_disturbs_nobody(links: AgentLinks, run_folder: Path) -> None:
    with Peer(run_folder) as agent:
        agent.hears()
        links.open("web", UID)
        agent.reports(seq=5)
        until(lambda: last_seq(links) == 5, "the report on the same connection")


def test_a_socket_that_a_crashed_controller_left_is_replaced(
    links: AgentLinks, tmp_path: Path, secrets: Secrets, woken: Woken
) -> None:
    del links  # it plays the crashed one: its socket file stays
    after = AgentLinks(lambda _: tmp_path / "run", secrets.read, woken)
    try:
        after.open("web", UID)
        with Peer(tmp_path / "run") as agent:
            agent.reports(seq=5)
            until(lambda: last_seq(after) == 5, "the report")
    finally:
        after.close()


@contextmanager
def no_more_than(spare: int) -> Iterator[None]:
    """Let this process open so many more descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("spare", [0, 1])
def test_a_first_listening_that_failed_is_repaired_by_the_next(
    spare: int, run_folder: Path, secrets: Secrets, woken: Woken
) -> None:
    run_folder.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(run_folder / "controller.sock"))
    links = AgentLinks(lambda _: run_folder, secrets.read, woken)
    try:
        with no_more_than(spare), pytest.raises(Retryable, match="Too many open files"):
            links.open("web", UID)
        assert links.listening_for(UID) == 0.0, "nobody could have been heard"
        links.open("web", UID)
        with Peer(run_folder) as agent:
            agent.reports(seq=5)
            until(lambda: last_seq(links) == 5, "the report")
        assert links.listening_for(UID) > 0.0
    finally:
        links.close()


def test_what_could_not_be_listened_for_counts_as_nobody_s_silence(links: AgentLinks, run_folder: Path) -> None:
    with Peer(run_folder) as agent:
        agent.reports()
        until(lambda: links.heard(UID), "the report")
        (run_folder / "controller.sock").unlink()
        until(lambda: links.listening_for(UID) > 0.3, "some time")
        with no_more_than(0), pytest.raises(Retryable):
            links.open("web", UID)
        assert links.listening_for(UID) == 0.0
    links.open("web", UID)
    assert links.listening_for(UID) < 0.3
    assert (heard := links.heard(UID)) is not None
    assert heard.age < 0.3


def test_two_that_open_at_the_same_moment_make_one_socket(
    run_folder: Path, secrets: Secrets, woken: Woken, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    bind = listener._bind  # noqa: SLF001 - counts what is made

    def counting(folder: Path) -> socket.socket:
        made.append(folder)
        return bind(folder)

    monkeypatch.setattr(listener, "_bind", counting)
    links = AgentLinks(lambda _: run_folder, secrets.read, woken)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: links.open("web", UID), range(8)))
    finally:
        links.close()
    assert made == [run_folder]


def test_a_controller_that_was_overtaken_takes_no_socket(
    links: AgentLinks, run_folder: Path, secrets: Secrets, woken: Woken
) -> None:
    def overtaken() -> None:
        raise Fenced("Fenced", "another controller has taken over")

    old = AgentLinks(lambda _: run_folder, secrets.read, woken, overtaken)
    try:
        with pytest.raises(Fenced):
            old.open("web", UID)
    finally:
        old.close()
    with Peer(run_folder) as agent:
        agent.reports(seq=5)
        until(lambda: last_seq(links) == 5, "the report")


def test_forgetting_closes_the_socket_and_drops_what_was_said(
    links: AgentLinks, run_folder: Path, woken: Woken
) -> None:
    with Peer(run_folder) as agent:
        agent.hears()
        agent.reports()
        assert woken.times(1)
        links.forget(UID)
        assert agent.is_cut_off()
    links.forget(UID)
    assert links.heard(UID) is None
    assert not (run_folder / "controller.sock").exists()
    assert woken.names == ["web"], "nobody is to look at what is forgotten"


def test_closing_is_clean_and_idempotent(
    tmp_path: Path, secrets: Secrets, woken: Woken, caplog: pytest.LogCaptureFixture
) -> None:
    closed = AgentLinks(lambda _: tmp_path / "run", secrets.read, woken)
    closed.open("web", UID)
    with Peer(tmp_path / "run") as agent, Peer(tmp_path / "run") as newer:
        newer.hears()
        newer.reports()
        assert woken.times(1)
        closed.close()
        closed.close()
        assert newer.is_cut_off()
        assert agent.lines.readline() is not None
    gc.collect()
    assert caplog.messages == [], "no task was left to die"


# Files ----------------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_socket_may_lie_deeper_than_a_socket_s_path_may_be_long(
    tmp_path: Path, secrets: Secrets, woken: Woken
) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-name-of-a-folder"] * 8)
    assert len(str(deep)) > 200
    links = AgentLinks(lambda _: deep, secrets.read, woken)
    try:
        links.open("web", UID)
        with Peer(deep) as agent:
            agent.reports()
            until(lambda: links.heard(UID), "the report")
    finally:
        links.close()


@pytest.fixture
def umask() -> Iterator[None]:
    """The umask the controller runs with."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_whoever_the_container_runs_as_may_enter_read_and_connect(
    tmp_path: Path, secrets: Secrets, woken: Woken
) -> None:
    links = AgentLinks(lambda name: tmp_path / name / "run", secrets.read, woken)
    try:
        links.open("web", UID)
        config = wanted(instance()).config
        links.configure(config)
    finally:
        run = tmp_path / "web" / "run"
        modes = [mode(run), mode(run / "controller.sock"), mode(run / "instance.json"), mode(tmp_path / "web")]
        links.close()
    assert modes == [0o755, 0o666, 0o444, 0o700]


def test_the_configuration_is_replaced_whole(links: AgentLinks, run_folder: Path) -> None:
    config = wanted(instance()).config
    links.configure(config)
    links.configure(config.model_copy(update={"model": "opus"}))
    text = (run_folder / "instance.json").read_text()
    assert json.loads(text)["schema"] == 1
    assert AgentConfig.model_validate_json(text).model == "opus"
    assert sorted(path.name for path in run_folder.iterdir()) == ["controller.sock", "instance.json"]


def something_else_is_there(run: Path) -> None:
    (run / "controller.sock").mkdir(parents=True)


def its_parent_is_a_file(run: Path) -> None:
    run.parent.mkdir(exist_ok=True)
    run.parent.rmdir()
    run.parent.touch()


@pytest.mark.parametrize("obstacle", [something_else_is_there, its_parent_is_a_file])
def test_a_socket_that_cannot_be_made_is_an_error_with_a_reason(
    obstacle: Callable[[Path], None], tmp_path: Path, secrets: Secrets, woken: Woken
) -> None:
    run = tmp_path / "web" / "run"
    obstacle(run)
    links = AgentLinks(lambda _: run, secrets.read, woken)
    try:
        with pytest.raises(Retryable, match=str(run)) as caught:
            links.open("web", UID)
        assert caught.value.reason == "StateDirectoryUnusable"
        assert links.heard(UID) is None
    finally:
        links.close()


def test_a_configuration_that_cannot_be_written_is_an_error_with_a_reason(links: AgentLinks, run_folder: Path) -> None:
    (run_folder / ".instance.json.new").mkdir()
    with pytest.raises(Retryable, match="directory") as caught:
        links.configure(wanted(instance()).config)
    assert caught.value.reason == "StateDirectoryUnusable"


def test_a_configuration_that_a_crash_left_half_written_is_in_nobody_s_way(links: AgentLinks, run_folder: Path) -> None:
    half = run_folder / ".instance.json.new"
    half.write_text("{")
    half.chmod(0o444)
    links.configure(wanted(instance()).config)
    assert AgentConfig.model_validate_json((run_folder / "instance.json").read_text()).name == "web"
