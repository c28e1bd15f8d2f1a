"""The page of the doctor explains every check there is, under its heading, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from controller.resources.check import CATALOGUE, CheckStatus
from ui.cli.doctor.bundle import PARTS

PAGE = (Path(__file__).parents[3] / "docs/doctor.md").read_text(encoding="utf-8")


def test_every_check_has_its_row_in_order_and_under_its_heading() -> None:
    rows = []
    heading = ""
    for line in PAGE.splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ")
        elif (row := re.match(r"\| `([a-z-]+)` \| (here|by the controller|by the server) \|", line)) is not None:
            rows.append((row[1], heading))
    assert rows == [(kind.name, kind.group.value) for kind in CATALOGUE]


def test_every_word_is_explained() -> None:
    assert re.findall(r"^\| `([A-Z]+)` \|", PAGE, flags=re.MULTILINE) == [status.value for status in CheckStatus]


def test_every_part_of_the_bundle_is_named() -> None:
    table = PAGE.partition("## The support bundle")[2].partition("**Not collected")[0]
    told = {
        name for row in re.findall(r"^\| (`.*?`) \|", table, flags=re.MULTILINE) for name in re.findall(r"`(.+?)`", row)
    }
    assert told == {*PARTS}
