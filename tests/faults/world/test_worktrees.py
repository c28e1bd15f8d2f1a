"""What happens to worktrees behind the controller's back (scenarios 11 and 12 of docs/faults.md)."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from controller.resources import ConditionStatus
from faults.invariants import CPU_SHARE
from faults.recorders import cpu_share
from faults.world.installation import World
from faults.world.person import PERSON, git

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]


def test_a_worktree_that_is_deleted_comes_back_after_the_container_was_stopped(world: World) -> None:
    """A running container keeps a dead folder, so the order matters: stop, add again, start.

    The kernel stamps files with the time of its last tick, up to 10 ms ago; git takes longer to start than that.
    """
    world.spawn("deleted")
    world.until_ready("deleted")
    commit = world.commit("deleted", "Add work")
    world.remember()
    world.baseline.drafts.clear()  # the person deleted them
    container, _, started = world.life("deleted")
    worktree = world.worktree("deleted")
    shutil.rmtree(worktree)
    world.until((worktree / "work.txt").is_file, "the worktree is there again")
    world.until_ready("deleted")
    actions = [action for action, _ in world.place.happened("start", "die")][-2:]
    assert actions == ["die", "start"]
    stopped = datetime.fromisoformat(world.inspect(container)["State"]["FinishedAt"]).timestamp()
    made = min((worktree / name).stat().st_mtime for name in (".git", "README.md", "work.txt"))
    assert stopped < made, f"the worktree was there {stopped - made:.3f} s before the container had ended"
    assert world.life("deleted")[0] == container
    assert world.life("deleted")[2] != started
    assert world.head("deleted") == commit
    assert world.in_box("deleted", "cat work.txt; git rev-parse HEAD").split()[-1] == commit
    assert git(worktree, "status", "--porcelain") == ""
    world.verify()


def test_a_worktree_that_is_missing_at_the_start_is_never_an_empty_folder_of_root(world: World) -> None:
    world.spawn("missing")
    world.until_ready("missing")
    commit = world.commit("missing", "Add work")
    world.patch("missing", operating_mode="Suspended")
    world.until_reason("missing", "Suspended")
    world.remember()
    world.baseline.drafts.clear()  # the person deletes them
    worktree, container = world.worktree("missing"), world.container("missing")
    shutil.rmtree(worktree)
    by_hand = subprocess.run(["docker", "start", container], capture_output=True, text=True, timeout=60, check=False)
    assert by_hand.returncode != 0
    assert not worktree.exists(), "the engine made nothing there"
    world.patch("missing", operating_mode="Running")
    world.until_ready("missing")
    assert (worktree.stat().st_uid, worktree.stat().st_gid) == (PERSON, PERSON)
    assert world.in_box("missing", "cat work.txt; touch new.txt; git rev-parse HEAD").split()[-1] == commit
    world.verify()


def test_a_worktree_that_was_moved_stays_where_it_was_put(world: World, folder: Path) -> None:
    """Whoever moved it keeps it, drafts and all; the instance goes on with what was committed."""
    world.spawn("moved")
    world.until_ready("moved")
    commit = world.commit("moved", "Add work")
    world.remember()
    world.baseline.drafts.clear()  # they are looked at where they were put
    worktree = world.worktree("moved")
    shutil.move(worktree, folder / "kept")
    world.until((worktree / "work.txt").is_file, "the worktree is there again")
    world.until_ready("moved")
    assert (folder / "kept" / "draft.txt").read_text() == "half\n"
    assert world.in_box("moved", "git rev-parse HEAD; git status --porcelain") == commit
    world.verify()


def test_a_worktree_that_git_moved_is_asked_for_by_its_name(world: World) -> None:
    """The branch is checked out where it is now, so only a person can say which of the two places is meant."""
    world.spawn("relocated")
    world.until_ready("relocated")
    commit = world.commit("relocated", "Add work")
    world.remember()
    drafts, world.baseline.drafts = world.baseline.drafts, []  # looked at where they were put
    worktree = world.worktree("relocated")
    aside = worktree.with_name("aside")
    git(world.repository, "worktree", "move", "--force", "--force", str(worktree), str(aside))
    told = world.until_reason("relocated", "WorktreeMoved")
    assert (aside / "draft.txt").read_text() == "half\n"
    assert [each["State"]["Status"] for each in world.place.containers()] == ["exited"]
    world.verify()
    _, _, command = told.message.partition("'git ")
    git(world.repository, *command.removesuffix("'").split())
    world.until_ready("relocated")
    assert world.in_box("relocated", "cat draft.txt; git rev-parse HEAD").split() == ["half", commit]
    world.baseline.drafts = drafts
    world.verify(rest=False)


def test_a_registration_that_was_pruned_is_made_again_around_the_files(world: World) -> None:
    world.spawn("pruned")
    world.until_ready("pruned")
    commit = world.commit("pruned", "Add work")
    world.remember()
    worktree = world.worktree("pruned")
    (admin,) = (world.repository / ".git" / "worktrees").iterdir()
    shutil.rmtree(admin)
    world.until(lambda: admin.is_dir() and world.ready("pruned").status is ConditionStatus.TRUE, "it is known again")
    assert (worktree / "draft.txt").read_text() == "half\n"
    assert str(worktree) in git(world.repository, "worktree", "list")
    assert git(worktree, "status", "--porcelain") == "?? draft.txt"
    assert world.head("pruned") == commit
    world.verify()


def test_a_worktree_that_cannot_be_written_says_so_and_is_used_again(world: World) -> None:
    """The real agent refuses to begin in it: the restart is paced and its reason names folder and way out."""
    world.talk("readonly")
    worktree = world.worktree("readonly")
    (worktree / "draft.txt").write_text("half\n")
    world.remember()
    os.chown(worktree, 0, 0)
    worktree.chmod(0o555)
    world.patch("readonly", restart_generation=1)
    waiting = world.until_reason("readonly", "BackingOff", "CrashLoop")
    assert str(worktree) in waiting.message
    assert f"uid {PERSON}" in waiting.message
    world.verify(rest=False)
    os.chown(worktree, PERSON, PERSON)
    worktree.chmod(0o755)
    world.patch("readonly", retry_generation=1)
    world.until_state("readonly", "idle")
    world.until_ready("readonly")
    assert (worktree / "draft.txt").read_text() == "half\n"
    world.verify()


def test_a_repository_that_is_away_for_a_while_stops_nobody(world: World) -> None:
    world.spawn("stays")
    world.until_ready("stays")
    commit = world.commit("stays", "Add work")
    world.remember()
    life = world.life("stays")
    away = world.repository.with_name("away")
    world.repository.rename(away)
    told = world.until_reason("stays", "PathNotFound", "RepositoryNotFound", "NotARepository", "RepositoryMissing")
    assert str(world.repository) in told.message
    assert world.life("stays") == life
    late = world.in_box("stays", "echo late >late.txt; git add late.txt; git commit -qm Late; git rev-parse HEAD")
    assert cpu_share(world.place.controller, 3.0) < CPU_SHARE
    away.rename(world.repository)
    world.until_ready("stays")
    assert world.life("stays") == life
    world.until(lambda: world.head("stays") == late, "what was committed meanwhile is at home")
    assert git(world.repository, "merge-base", "--is-ancestor", commit, late) == ""
    world.verify()
