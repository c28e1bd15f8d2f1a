from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ui.cli.checkout import Checkout, find_checkout


def git(*arguments: str, cwd: Path) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "protocol.file.allow=always")
    subprocess.run(("git", *identity, *arguments), cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "My Shop"
    path.mkdir()
    git("init", "-q", "-b", "main", cwd=path)
    git("commit", "-q", "--allow-empty", "-m", "first", cwd=path)
    return path


def test_from_a_folder_deep_inside(repository: Path) -> None:
    deep = repository / "a" / "b"
    deep.mkdir(parents=True)
    assert find_checkout(deep) == Checkout(repository)


def test_from_a_linked_worktree_the_main_one_is_found(repository: Path) -> None:
    worktree = repository.parent / "My Shop.worktrees" / "web"
    git("worktree", "add", "-q", str(worktree), cwd=repository)
    assert find_checkout(worktree) == Checkout(repository)


def test_from_inside_the_git_directory(repository: Path) -> None:
    assert find_checkout(repository / ".git") == Checkout(repository)
    assert find_checkout(repository / ".git" / "refs") == Checkout(repository)


def test_a_bare_repository_and_its_worktree(repository: Path, tmp_path: Path) -> None:
    bare = tmp_path / "shop.git"
    git("clone", "-q", "--bare", str(repository), str(bare), cwd=tmp_path)
    git("worktree", "add", "-q", str(tmp_path / "wt"), "-b", "x", cwd=bare)
    assert find_checkout(bare) == Checkout(bare, bare=True)
    assert find_checkout(tmp_path / "wt") == Checkout(bare, bare=True)


def test_a_submodule_is_a_repository_of_its_own(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git("init", "-q", cwd=outer)
    git("submodule", "add", "-q", str(repository), "sub", cwd=outer)
    assert find_checkout(outer / "sub") == Checkout(outer / "sub")


def test_through_a_symbolic_link_the_real_path_is_told(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repository)
    assert find_checkout(tmp_path / "link") == Checkout(repository)


def test_outside_of_any_repository(tmp_path: Path) -> None:
    assert find_checkout(tmp_path) is None


@pytest.mark.parametrize(
    ("checkout", "name"),
    [
        (Checkout(Path("/srv/My Shop")), "my-shop"),
        (Checkout(Path("/srv/shop.git"), bare=True), "shop"),
        (Checkout(Path("/srv/_x_")), "x"),
        (Checkout(Path("/srv/" + "a" * 39 + "-b")), "a" * 39),
        (Checkout(Path("/srv/日本")), "repository"),
    ],
)
def test_the_default_name_is_always_valid(checkout: Checkout, name: str) -> None:
    assert checkout.default_name == name
