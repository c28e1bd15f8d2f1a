"""A controller that dies between an act and writing it down: the next one takes it from the world."""

from __future__ import annotations

import pytest

from support.world import World


class Killed(BaseException):
    """The controller dies here."""


def test_commits_come_home_although_nobody_wrote_down_where_the_workspace_is(world: World) -> None:
    world.register()
    world.declare("web")

    def die(verb: str, when: str) -> None:
        if (verb, when) == ("create", "after"):
            raise Killed

    world.git.interrupt = die
    with pytest.raises(Killed):
        world.settle("web")
    assert world.get().status.workspace is None
    world.git.interrupt = None
    world.settle("web")
    workspace = world.get().status.workspace
    assert workspace is not None
    (worktree,) = world.git.worktrees.values()
    worktree.commits.append("c1")
    world.agents.of(world.get().metadata.uid).refs_version = "refs-1"
    world.settle("web")
    assert world.git.branches["web"] == ["c1"]


def test_an_instance_stays_with_the_runtime_that_carried_it_although_nobody_wrote_that_down(world: World) -> None:
    world.register()
    world.declare("web")

    def die(verb: str, when: str) -> None:
        if (verb, when) == ("start", "after"):
            raise Killed

    world.engine.interrupt = die
    with pytest.raises(Killed):
        world.settle("web")
    assert world.get().status.runtime is None
    world.engine.interrupt = None
    world.settle("web")
    assert world.get().status.runtime == "docker"
