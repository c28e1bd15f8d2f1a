"""The page for the day on which something is lost: its commands exist, and do not take what it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from controller.__main__ import main

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/recovery.md").read_text(encoding="utf-8")


def test_what_stops_the_system_for_a_rebuild_leaves_the_instances() -> None:
    before = PAGE.partition("## The database is damaged")[2].partition("python -m controller rebuild")[0]
    assert "Not `make down`: it stops the instances too" in before
    assert "stopping the instances" in (ROOT / "scripts/down.sh").read_text(encoding="utf-8"), "which is why"
    (services,) = re.findall(r"`docker compose stop ([a-z ]+)`", before)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert {*services.split()} <= {*compose["services"]}


def test_every_flag_of_the_rebuild_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rebuild", "--help"])
    known = capsys.readouterr().out
    told = {*re.findall(r"`(--[a-z-]+)", PAGE.partition("## Uncommitted work")[0])}
    assert {flag for flag in told if flag not in known} == set()
    assert "--without-runtime" in told
