"""Fixtures of tests on real git, for the conftest files of those that need them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.git_world import OWNERS, GitWorld, git_world


@pytest.fixture(params=OWNERS[-1:], ids=lambda uid: f"owner-{uid}")
def world(request: pytest.FixtureRequest) -> Iterator[GitWorld]:
    """A repository of an ordinary user where the tests may choose."""
    with git_world(request.param) as made:
        yield made


@pytest.fixture(params=OWNERS, ids=lambda uid: f"owner-{uid}")
def any_world(request: pytest.FixtureRequest) -> Iterator[GitWorld]:
    """The same for a repository of root and one of an ordinary user."""
    with git_world(request.param) as made:
        yield made
