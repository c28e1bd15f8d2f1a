"""``cco gc`` over the real API, streams and store: looking changes nothing, removing is asked for and told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.errors import Unavailable
from controller.resources.orphan import OrphanList, SweepReport
from support.command_line import Cco
from support.installation import Installation
from support.lost_rows import forget_instance


@pytest.fixture
def lost(installation: Installation, shop: Path) -> Installation:
    """An instance that ended two hours ago, and that the database does not know any more."""
    del shop
    uid = installation.ready().metadata.uid
    installation.resting = True
    forget_instance(installation.settings.database, uid)
    world = installation.world
    world.engine.crash(uid)
    past = datetime.now(UTC) - timedelta(hours=2)
    for container in world.engine.containers.values():
        container.created_at = past
    world.engine.marks = {name: replace(mark, created_at=past) for name, mark in world.engine.marks.items()}
    return installation


def test_nothing_to_do(cco: Cco, installation: Installation, shop: Path) -> None:
    del shop
    installation.ready()
    result = cco("gc")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "everything of ours belongs to an instance" in result.stderr
    assert cco.ok("gc", "--yes") == ""


def test_looking_changes_nothing(cco: Cco, lost: Installation) -> None:
    before = (len(lost.world.engine.containers), len(lost.world.engine.homes), len(lost.world.git.worktrees))
    result = cco("gc")
    assert result.exit_code == 0, result.output
    heading, *rows = result.stdout.splitlines()
    assert heading.split() == ["KIND", "NAME", "INSTANCE", "AGE", "WHY", "ACTION"]
    assert [row.split()[0] for row in rows] == ["workload", "home", "worktree", "git-directory"]
    assert all("instance is not known" in row and row.endswith("remove") for row in rows)
    assert "'cco gc --yes' removes 4 of these 4" in result.stderr
    assert "put back from an older copy" in result.stderr
    after = (len(lost.world.engine.containers), len(lost.world.engine.homes), len(lost.world.git.worktrees))
    assert after == before


def test_removing_saves_first(cco: Cco, lost: Installation) -> None:
    next(iter(lost.world.git.worktrees.values())).dirty = "half a thought"
    assert "save work, then remove" in cco.ok("gc")
    text = cco.ok("gc", "--yes")
    assert text.count("removed") == 4
    assert "uncommitted work in snapshot" in text
    assert lost.world.git.snapshots == ["half a thought"]
    assert lost.world.git.worktrees == {}
    assert "OrphanRemoved" in cco.ok("events", "--for", "instance/web")
    assert cco.ok("gc", "--yes") == ""


def test_what_stays_is_told_and_counts(cco: Cco, lost: Installation) -> None:
    lost.world.git.fail_next("collect", Unavailable("TooMuch", "the disk is full"))
    result = cco("gc", "--yes")
    assert result.exit_code == 8
    assert "kept: the disk is full" in result.stdout
    assert "3 orphans could not be removed" in result.stderr


def test_for_programs(cco: Cco, lost: Installation) -> None:
    del lost
    found = OrphanList.model_validate(json.loads(cco.ok("gc", "-o", "json")))
    assert len(found.items) == 4
    assert cco.ok("gc", "-o", "name").splitlines()[0] == "workload/cco-web-1"
    report = SweepReport.model_validate(json.loads(cco.ok("gc", "--yes", "-o", "json")))
    assert {each.result for each in report.items} == {"removed"}


def test_a_place_that_is_silent_is_named(cco: Cco, lost: Installation) -> None:
    lost.world.engine.go_away()
    result = cco("gc")
    assert result.exit_code == 0
    assert "not looked at: runtime docker" in result.stderr
    assert "keep: whether something is running in it" in result.stdout


def test_without_a_controller(cco: Cco, installation: Installation) -> None:
    installation.stop_streams()
    assert "controller" in cco.fails(6, "gc")
