"""Finding the git repository around a folder, by looking at files only: no git is needed where ``cco`` runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository on this machine.

    Attributes:
        path: its main worktree, or the repository itself when it is bare; absolute, without symbolic links.
    """

    path: Path
    bare: bool = False

    @property
    def default_name(self) -> str:
        """A valid object name made from the folder's name."""
        word = self.path.name.removesuffix(".git") if self.bare else self.path.name
        return _NOT_IN_NAMES.sub("-", word.lower()).strip("-")[:_LONGEST_NAME].strip("-") or "repository"


def find_checkout(start: Path) -> Checkout | None:
    """Return the repository that contains a folder, walking up; ``None`` when there is none.

    From a linked worktree (such as an instance's) the main worktree is found; a submodule is a repository of its own.
    """
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        dot_git = candidate / ".git"
        if _is_git_dir(dot_git):
            return Checkout(candidate)
        if dot_git.is_file():
            return _linked(candidate, dot_git)
        if _is_git_dir(candidate):
            return Checkout(candidate.parent) if candidate.name == ".git" else Checkout(candidate, bare=True)
    return None


def _linked(worktree: Path, dot_git: Path) -> Checkout | None:
    """Follow a ``.git`` file; a worktree's git directory names the common one, a submodule's does not."""
    text = dot_git.read_text(encoding="utf-8", errors="surrogateescape").strip()
    git_dir = (worktree / text.removeprefix("gitdir:").strip()).resolve()
    try:
        common = (git_dir / "commondir").read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return Checkout(worktree)
    common_dir = (git_dir / common).resolve()
    return Checkout(common_dir.parent) if common_dir.name == ".git" else Checkout(common_dir, bare=True)


def _is_git_dir(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()
