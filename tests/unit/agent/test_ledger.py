"""What became of inputs, across restarts, strange files and full disks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.ledger import Ledger


def test_it_survives_whatever_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    entries = [{"id": "a", "state": "accepted", "reason": None, "at": 1}, {"id": 1}, "x", {"id": "b", "state": "?"}]
    path.write_text(json.dumps({"done": entries, "typing": [{"id": "c"}, {"id": "d", "text": "t", "at": "x"}]}))
    ledger = Ledger(path)
    assert [entry.id for entry in ledger.newest] == ["a"]
    assert [(left.id, left.at) for left in ledger.unfinished] == [("d", 0.0)]
    assert ledger.knows("a")
    assert ledger.knows("d")
    assert not ledger.knows("b")


def test_the_newest_are_reported_and_more_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.ledger.KEPT", 8)
    monkeypatch.setattr("agent.ledger.REPORTED", 3)
    ledger = Ledger(tmp_path / "inputs.json")
    for number in range(12):
        ledger.end(str(number), "accepted", None, 1.0)
    assert [entry.id for entry in ledger.newest] == ["9", "10", "11"]
    again = Ledger(tmp_path / "inputs.json")
    assert again.knows("4")
    assert not again.knows("3")


def test_the_first_ending_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "inputs.json")
    ledger.end("a", "accepted", None, 1.0)
    ledger.end("a", "rejected", "late", 2.0)
    assert ledger.newest[0].state == "accepted"


def test_a_full_disk_forgets_nothing_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "inputs.json")
    ledger.begin("a", "text", 1.0)
    monkeypatch.setattr(ledger, "_path", tmp_path / "missing" / "inputs.json")
    ledger.end("a", "accepted", None, 1.0)
    assert ledger.knows("a")
    with pytest.raises(FileNotFoundError):
        ledger.begin("b", "text", 1.0)
    assert not ledger.knows("b")
    assert [left.id for left in Ledger(tmp_path / "inputs.json").unfinished] == ["a"]
