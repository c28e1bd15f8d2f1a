"""What an earlier instance of the same name brought home is kept, and moves nothing of a later one's."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from controller.workspace.types import Collected
from support.git_world import GitWorld


@pytest.mark.parametrize("attempt", [1, 2])
def test_branch_does_not_follow_an_earlier_instance_of_the_same_name(world: GitWorld, attempt: int) -> None:
    first = world.made(branch="feature/x")
    world.collect(first)
    first = replace(first, attempt=attempt)
    abandoned = world.agent_commits(first)
    world.agent(first, "tag", "-a", "-m", "Release", "v1")
    world.agent(first, "branch", "side")
    assert world.collect(first).head == abandoned
    tag = world.refs()[f"refs/cco/instances/web/{attempt}/tags/v1"]
    world.workspaces.remove(first)
    world.user("branch", "-qD", "feature/x")
    start = world.user_commits("main")
    second = world.made(branch="feature/x")
    for again in (second, replace(second, attempt=2)):
        assert not world.workspaces.inspect(again).diverged
        assert world.collect(again) == Collected(start, moved=False, diverged=False)
    assert set(world.refs("refs/cco/").values()) == {abandoned, tag, start}
    commit = world.agent_commits(second)
    assert world.collect(second) == Collected(commit, moved=True, diverged=False)


def test_branch_that_was_reset_is_not_moved_by_an_earlier_instance(world: GitWorld) -> None:
    first = world.made()
    abandoned = world.agent_commits(first)
    world.collect(first)
    world.workspaces.remove(first)
    start = world.user("rev-parse", "main")
    world.user("update-ref", "refs/heads/web", start)
    assert world.collect(world.made()) == Collected(start, moved=False, diverged=False)
    assert world.reachable(abandoned)


def test_what_this_instance_brought_home_stays_where_only_its_start_was_forgotten(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.collect(ref)
    home = world.refs("refs/cco/instances/web/1/")
    world.user("update-ref", "-d", f"refs/cco/instances/web/uids/{ref.uid}/base")
    shutil.rmtree(ref.worktree)
    world.create(ref)
    assert world.refs("refs/cco/instances/web/1/") == home
    assert world.collect(ref).head == commit
