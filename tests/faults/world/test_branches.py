"""What people do to branches while an instance works on them, and both committing at once.

Scenario 13 of docs/faults.md.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from controller.resources import ConditionStatus
from faults.world.installation import World
from faults.world.person import git

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]


def test_a_branch_that_was_deleted_is_told_and_not_made_again_unasked(world: World) -> None:
    world.spawn("gone")
    world.until_ready("gone")
    commit = world.commit("gone", "Add work")
    world.remember()
    life = world.life("gone")
    git(world.repository, "update-ref", "-d", "refs/heads/gone")
    told = world.until_reason("gone", "BranchDeleted", status=ConditionStatus.TRUE)
    assert f"git branch gone {commit}" in told.message
    assert world.life("gone") == life, "Claude works on"
    late = world.in_box("gone", "echo late >late.txt; git add late.txt; git commit -qm Late; git rev-parse HEAD")
    kept = "refs/cco/instances/gone/1/heads/gone"
    world.until(lambda: git(world.repository, "rev-parse", kept) == late, "later work comes home all the same")
    assert world.head("gone") == ""
    world.verify()
    git(world.repository, "branch", "gone", late)
    world.until(lambda: world.ready("gone").reason == "Ready", "it is well again")
    world.verify(rest=False)


def test_a_deleted_branch_and_worktree_are_blocked_with_the_command_that_brings_them_back(world: World) -> None:
    world.spawn("vanished")
    world.until_ready("vanished")
    commit = world.commit("vanished", "Add work")
    world.remember()
    world.baseline.drafts.clear()  # the person deletes them
    git(world.repository, "update-ref", "-d", "refs/heads/vanished")
    shutil.rmtree(world.worktree("vanished"))
    told = world.until_reason("vanished", "BranchDeleted")
    assert f"git branch vanished {commit}" in told.message
    world.verify()
    git(world.repository, "branch", "vanished", commit)
    world.until_ready("vanished")
    assert world.in_box("vanished", "cat work.txt; git rev-parse HEAD").split()[-1] == commit


def test_a_branch_that_was_moved_stays_where_the_person_put_it(world: World) -> None:
    world.spawn("shifted")
    world.until_ready("shifted")
    commit = world.commit("shifted", "Add work")
    world.remember()
    base = git(world.repository, "rev-parse", "main")
    git(world.repository, "update-ref", "refs/heads/shifted", base)
    late = world.in_box("shifted", "echo late >late.txt; git add late.txt; git commit -qm Late; git rev-parse HEAD")
    kept = "refs/cco/instances/shifted/1/heads/shifted"
    world.until(lambda: git(world.repository, "rev-parse", kept) == late, "Claude's work comes home")
    assert world.head("shifted") in {base, late}, "where it was put, or forward from there"
    world.verify()
    assert git(world.repository, "merge-base", "--is-ancestor", commit, late) == ""


def test_a_branch_that_is_checked_out_elsewhere_blocks_a_repair(world: World, folder: Path) -> None:
    world.spawn("twice")
    world.until_ready("twice")
    commit = world.commit("twice", "Add work")
    world.patch("twice", operating_mode="Suspended")
    world.until_reason("twice", "Suspended")
    home = folder / "home"
    git(world.repository, "worktree", "add", "--force", str(home / "elsewhere"), "twice")
    (home / "elsewhere" / "mine.txt").write_text("a person's\n")
    world.remember()
    world.baseline.drafts.clear()  # the person deletes them
    shutil.rmtree(world.worktree("twice"))
    world.patch("twice", operating_mode="Running")
    told = world.until_reason("twice", "BranchCheckedOutElsewhere")
    assert str(home / "elsewhere") in told.message
    world.verify()
    assert (home / "elsewhere" / "mine.txt").read_text() == "a person's\n"
    git(world.repository, "worktree", "remove", "--force", str(home / "elsewhere"))
    world.until_ready("twice")
    assert world.head("twice") == commit
    world.remember()


def test_a_person_and_claude_commit_at_once_and_both_lines_are_kept(world: World) -> None:
    world.spawn("both")
    world.until_ready("both")
    world.commit("both", "Add work")
    worktree = world.worktree("both")
    world.in_box("both", "rm draft.txt")
    world.remember()
    (worktree / "mine.txt").write_text("a person's\n")
    git(worktree, "add", "mine.txt")
    person = ("-c", "user.name=A. Person", "-c", "user.email=person@example.org")
    git(worktree, *person, "commit", "-qm", "Add mine")
    mine = world.head("both")
    claudes = world.in_box("both", "echo two >>work.txt; git commit -qam Two; git rev-parse HEAD")
    told = world.until_reason("both", "Diverged", status=ConditionStatus.TRUE)
    assert "both lines are kept" in told.message
    assert world.head("both") == mine, "the person's branch was not moved"
    assert git(world.repository, "rev-parse", "refs/cco/instances/both/1/heads/both") == claudes
    for commit in (mine, claudes):
        world.baseline.remember_commit(str(world.repository), commit)
    world.verify()
    # The person takes Claude's line in: from then on both are the same again.
    git(worktree, *person, "reset", "-q", "--hard")
    git(worktree, *person, "merge", "-q", "--no-edit", claudes)
    world.until(lambda: world.ready("both").reason == "Ready", "the lines are joined")
