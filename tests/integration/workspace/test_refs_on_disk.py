"""Refs read from files are what git says; where they may not be, git is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.workspace.git import Git
from controller.workspace.refs import current_branch, read
from controller.workspace.refs_on_disk import NotPlain, read_current_branch, read_plain
from support.git_world import GitWorld

EXACT = ("refs/heads/main", "refs/heads/feature", "refs/heads/deep/er", "refs/heads/none")
BELOW = ("refs/tags/", "refs/cco/instances/web/1/")


def _git(world: GitWorld) -> Git:
    status = world.repository.stat()
    return Git(str(world.repository / ".git"), (status.st_uid, status.st_gid))


def _said_by_git(world: GitWorld) -> dict[str, str]:
    lines = world.user("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    pairs = (line.split(" ") for line in lines)
    return {name: value for value, name in pairs if name in EXACT or name.startswith(BELOW)}


def _fill(world: GitWorld) -> None:
    world.user("branch", "feature")
    world.user("branch", "deep/er")
    world.user("branch", "deep/other")
    world.user("tag", "light")
    world.user("tag", "-a", "-m", "about it", "heavy")
    world.user("update-ref", "refs/cco/instances/web/1/heads/main", "HEAD")
    world.user("update-ref", "refs/cco/instances/web/10/heads/main", "HEAD")


def _packed_then_moved(world: GitWorld) -> None:
    _fill(world)
    world.user("pack-refs", "--all")
    world.user("commit", "--allow-empty", "-m", "further")
    world.user("branch", "-f", "feature", "HEAD")
    world.user("branch", "-D", "deep/er")


def _packed(world: GitWorld) -> None:
    _fill(world)
    world.user("pack-refs", "--all", "--prune")


@pytest.mark.parametrize("arrange", [lambda _: None, _fill, _packed, _packed_then_moved])
def test_files_say_what_git_says(world: GitWorld, arrange: Callable[[GitWorld], None]) -> None:
    """Loose, packed, both, annotated tags, a branch deleted since it was packed, a name that begins with another."""
    arrange(world)

    found = read_plain(str(world.repository / ".git"), EXACT, BELOW)

    assert list(found.items()) == list(_said_by_git(world).items())
    assert found == read(_git(world), EXACT, BELOW)


def test_symbolic_ref_is_left_to_git(world: GitWorld) -> None:
    """Its value is that of another ref."""
    world.user("symbolic-ref", "refs/heads/feature", "refs/heads/main")

    with pytest.raises(NotPlain):
        read_plain(str(world.repository / ".git"), EXACT, BELOW)

    assert read(_git(world), EXACT, BELOW) == _said_by_git(world)
    assert "refs/heads/feature" in _said_by_git(world)


@pytest.mark.parametrize("content", ["", "0" * 40 + "\n", "damaged"])
def test_damaged_ref_is_left_to_git(world: GitWorld, content: str) -> None:
    """What git makes of it is git's affair."""
    (world.repository / ".git/refs/heads/feature").write_text(content, encoding="utf-8")

    with pytest.raises(NotPlain):
        read_plain(str(world.repository / ".git"), EXACT, BELOW)


def test_ref_that_is_too_long_is_left_to_git(world: GitWorld) -> None:
    (world.repository / ".git/refs/heads/feature").write_text(world.user("rev-parse", "main") + "\n" * 5000)

    with pytest.raises(NotPlain):
        read_plain(str(world.repository / ".git"), EXACT, BELOW)

    assert read(_git(world), EXACT, BELOW) == _said_by_git(world)
    assert "refs/heads/feature" in _said_by_git(world)


def test_ref_that_is_a_link_is_left_to_git(world: GitWorld) -> None:
    """Very old repositories have them."""
    (world.repository / ".git/refs/heads/feature").symlink_to("main")

    with pytest.raises(NotPlain):
        read_plain(str(world.repository / ".git"), EXACT, BELOW)


def test_other_format_is_left_to_git(tmp_path: Path) -> None:
    """``extensions.refStorage = reftable`` leaves a file in the place of the folder of branches."""
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs" / "heads").write_text("this repository uses the reftable format\n", encoding="utf-8")
    (tmp_path / "HEAD").write_text("ref: refs/heads/.invalid\n", encoding="utf-8")

    with pytest.raises(NotPlain):
        read_plain(str(tmp_path), EXACT, BELOW)
    with pytest.raises(NotPlain):
        read_current_branch(str(tmp_path))


def test_failed_look_is_no_absence(tmp_path: Path) -> None:
    """A repository that is not there has not lost its refs."""
    with pytest.raises(NotPlain):
        read_plain(str(tmp_path / "gone"), EXACT, BELOW)
    with pytest.raises(NotPlain):
        read_current_branch(str(tmp_path / "gone"))


def test_current_branch(world: GitWorld) -> None:
    """On a branch, on none, and on another ref."""
    git = _git(world)
    assert current_branch(git) == "main"

    world.user("checkout", "-q", "--detach")
    assert current_branch(git) is None

    world.user("symbolic-ref", "HEAD", "refs/elsewhere/x")
    assert current_branch(git) == world.user("symbolic-ref", "HEAD").strip()
