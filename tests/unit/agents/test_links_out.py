"""What goes out to agents: credentials with every connection and when they change, prompts once per connection."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from controller.agents import AgentLinks
from controller.agents import link as links_module
from controller.agents.report import MAX_LINE
from controller.errors import Terminal
from support.agent_peer import KEY, LONGEST_SECONDS, OTHER_KEY, Peer, Secrets, last_seq, until
from support.looks import UID

# Credentials ----------------------------------------------------------------------------------------------------


def test_credentials_come_with_the_connection(run_folder: Path, links: AgentLinks) -> None:
    del links
    for _ in range(2):
        with Peer(run_folder) as agent:
            assert agent.hears() == {"type": "credentials", "values": KEY}


@pytest.mark.usefixtures("no_old_secrets")
def test_credentials_come_again_when_they_changed_and_only_then(
    links: AgentLinks, run_folder: Path, secrets: Secrets
) -> None:
    secrets.values = {}
    with Peer(run_folder) as agent:
        assert agent.hears()["values"] == {}
        agent.reports(seq=1)
        until(lambda: last_seq(links) == 1, "a report")
        secrets.values = KEY
        agent.reports(seq=2)
        assert agent.hears()["values"] == KEY, "nothing was said between the two"
        secrets.values = OTHER_KEY
        agent.reports(seq=3)
        assert agent.hears()["values"] == OTHER_KEY


@pytest.mark.usefixtures("no_old_secrets")
def test_unreadable_credentials_are_none_until_they_can_be_read(
    links: AgentLinks, run_folder: Path, secrets: Secrets, caplog: pytest.LogCaptureFixture
) -> None:
    del links
    secrets.error = Terminal("InvalidSecretsFile", "line 3: write NAME=value")
    with Peer(run_folder) as agent:
        assert agent.hears()["values"] == {}
        secrets.error = None
        agent.reports()
        assert agent.hears()["values"] == KEY
    assert [record.exc_info for record in caplog.records] == [None]


@pytest.mark.usefixtures("no_old_secrets")
def test_unreadable_credentials_take_nothing_from_those_who_have_some(
    links: AgentLinks, run_folder: Path, secrets: Secrets
) -> None:
    with Peer(run_folder) as agent:
        agent.hears()
        secrets.error = Terminal("InvalidSecretsFile", "line 3: write NAME=value")
        agent.reports(seq=1)
        until(lambda: last_seq(links) == 1, "the report")
        secrets.values, secrets.error = OTHER_KEY, None
        agent.reports(seq=2)
        assert agent.hears()["values"] == OTHER_KEY


def test_credentials_are_never_logged(links: AgentLinks, run_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), Peer(run_folder) as agent:
        agent.hears()
        agent.says(b'{"type": "report", "echo": "sk-ant-secret"}')
        agent.reports(seq=1)
        until(lambda: last_seq(links) == 1, "the report")
    assert "sk-ant" not in caplog.text


# Inputs ---------------------------------------------------------------------------------------------------------


def test_an_input_goes_out_and_is_remembered_for_this_connection(links: AgentLinks, run_folder: Path) -> None:
    with Peer(run_folder) as agent:
        agent.hears()
        agent.reports()
        assert links.send_input(UID, "input-1", "go on\n„weiter“")
        assert agent.hears() == {"type": "input", "id": "input-1", "text": "go on\n„weiter“"}
        assert (heard := links.heard(UID)) is not None
        assert heard.handed_over == {"input-1"}
    with Peer(run_folder) as agent:
        agent.hears()
        until(lambda: (heard := links.heard(UID)) and heard.connected and not heard.handed_over, "a new start")


def test_the_longest_prompt_fits_into_a_line(links: AgentLinks, run_folder: Path) -> None:
    text = "漢" * 200_000
    sent: list[bool] = []
    with Peer(run_folder) as agent:
        agent.hears()
        sender = threading.Thread(target=lambda: sent.append(links.send_input(UID, "input-1", text)), daemon=True)
        sender.start()
        line = agent.lines.readline()
        sender.join(LONGEST_SECONDS)
    assert len(line) <= MAX_LINE
    assert json.loads(line)["text"] == text
    assert sent == [True]


@pytest.mark.parametrize("uid", [UID, "nobody"], ids=["nobody connected", "no such instance"])
def test_an_input_goes_nowhere_with(uid: str, links: AgentLinks) -> None:
    assert not links.send_input(uid, "input-1", "go on")


def test_an_input_goes_nowhere_after_the_connection_broke(links: AgentLinks, run_folder: Path) -> None:
    with Peer(run_folder) as agent:
        agent.hears()
        agent.reports()
        until(lambda: links.heard(UID), "the report")
    until(lambda: not links.send_input(UID, "input-1", "go on"), "the end of the connection")


def test_an_agent_that_does_not_read_is_cut_off_instead_of_piling_up(
    links: AgentLinks, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "SEND_TIMEOUT", 0.05)
    with Peer(run_folder) as agent:
        agent.reports()
        until(lambda: links.heard(UID), "the report")
        assert not links.send_input(UID, "input-1", "x" * 1_000_000)
        until(lambda: (heard := links.heard(UID)) and not heard.connected, "the cut")
        assert (heard := links.heard(UID)) is not None
        assert heard.handed_over == set()
    with Peer(run_folder) as agent:
        assert agent.hears()["type"] == "credentials"
        assert links.send_input(UID, "input-1", "again")
