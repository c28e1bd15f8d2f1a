"""Workspaces with work in them, and what must not happen to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.errors import CcoError, Retryable, Terminal
from controller.workspace.types import WorkspaceRef
from support.git_world import GitWorld
from support.trees import tree_of


def made_with_work(world: GitWorld) -> WorkspaceRef:
    """Return a workspace with a commit that is home, a changed file and a new one."""
    ref = world.made()
    world.agent_commits(ref, "committed.txt")
    world.collect(ref)
    world.agent_writes(ref, "README.md", "changed")
    world.agent_writes(ref, "new.txt", "new")
    return ref


def refused(act: Callable[[], object], *words: str) -> CcoError:
    """Expect an error of the loop that has all the words; returns it."""
    with pytest.raises((Retryable, Terminal)) as caught:
        act()
    for word in words:
        assert word in f"{caught.value.reason} {caught.value.message}"
    return caught.value


@contextmanager
def untouched(*places: Path) -> Iterator[None]:
    """Expect every file of the folders to be as it was."""
    before = [tree_of(place) for place in places]
    yield
    assert [tree_of(place) for place in places] == before
    assert any(before)
