"""Deletions of instances with unsaved work, with and without ``--discard-work``, on real git.

Scenario 14 of docs/faults.md.
"""

from __future__ import annotations

import pytest

from faults.world.installation import World, git

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]


def snapshots(world: World, name: str) -> list[str]:
    return git(world.repository, "for-each-ref", "--format=%(refname)", f"refs/cco/snapshots/{name}").split()


def give_up(world: World, name: str) -> None:
    """Delete it by the command a person types, which waits until it is gone."""
    world.system.cco("delete", "instance", name, "--discard-work", "--yes")
    assert world.is_gone(name)


def test_given_up_work_is_saved_all_the_same_where_that_can_be(world: World) -> None:
    world.spawn("savable")
    world.until_ready("savable")
    commit, worktree = world.commit("savable", "Add work"), world.worktree("savable")
    world.remember()
    assert world.baseline.drafts, "there is something uncommitted"
    assert snapshots(world, "savable") == []
    give_up(world, "savable")
    assert not worktree.exists()
    (snapshot,) = snapshots(world, "savable")
    assert git(world.repository, "show", f"{snapshot}:draft.txt") == "half"
    assert world.head("savable") == commit
    assert "WorkDiscarded" not in world.system.cco("events", "--for", "instance/savable")
    world.verify()


LOSE = """
echo kept >kept.txt; echo lost >lost.txt; git add lost.txt; git commit -qm Lost
lost=$(git rev-parse HEAD:lost.txt)
rm -f "$(git rev-parse --absolute-git-dir)/objects/$(echo $lost | cut -c1-2)/$(echo $lost | cut -c3-)"
"""
"""Commits a file and removes what git keeps of it, as a damaged disk would; nobody can bring that commit home."""


def test_what_cannot_be_saved_stays_until_it_is_given_up(world: World) -> None:
    world.spawn("damaged")
    world.until_ready("damaged")
    commit, worktree = world.commit("damaged", "Add work"), world.worktree("damaged")
    world.remember()
    world.place.kill("controller")
    world.in_box("damaged", LOSE)
    world.place.start("controller")
    world.delete("damaged")
    refused = world.until_reason("damaged", "CommitsDamaged")
    assert "cco delete instance damaged --discard-work" in refused.message
    (container,) = [each for each in world.place.containers() if "damaged" in each["Name"]]
    assert not container["State"]["Running"], "what cannot be saved holds up no stop"
    assert (worktree / "kept.txt").read_text() == "kept\n"
    assert (worktree / "draft.txt").read_text() == "half\n"
    give_up(world, "damaged")
    assert not worktree.exists()
    assert world.head("damaged") == commit, "what was at home already is still there"
    assert "WorkDiscarded" in world.system.cco("events", "--for", "instance/damaged")
    world.verify(rest=False)
