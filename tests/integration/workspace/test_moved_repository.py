"""A repository that a person moved: it is missed, and found again through a link in its old place."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import Terminal
from support.git_world import GitWorld


def test_a_repository_that_was_moved_is_found_through_a_link(world: GitWorld) -> None:
    ref = world.made()
    first = world.agent_commits(ref)
    moved = world.base / "moved"
    world.repository.rename(moved)
    with pytest.raises(Terminal, match="leave a symbolic link to it there"):
        world.inspect(ref)
    world.repository.symlink_to(moved)
    assert world.collect(ref).head == first
    world.create(ref)
    borrowed = Path(ref.private, "objects/info/alternates").read_text().strip()
    seen = {mount.target: mount for mount in world.workspaces.mounts(ref)}
    assert seen[borrowed].source == str(moved / ".git/objects")
    assert seen[borrowed].read_only
    second = world.agent_commits(ref, "later.txt")
    assert world.collect(ref).head == second
    world.workspaces.remove(ref)
    assert world.reachable(second)


def test_one_that_never_moved_is_shown_once(world: GitWorld) -> None:
    ref = world.made()
    stores = [mount for mount in world.workspaces.mounts(ref) if mount.target.endswith("/objects")]
    assert len(stores) == 1
