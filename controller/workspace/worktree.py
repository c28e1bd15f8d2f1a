"""Worktrees of a user's repository: which are ours, making one, making a half-made one whole, taking it away.

Ours is a worktree whose lock reason carries the instance's uid (written by git before anything else of it
exists), or, where a person unlocked it, the one our memory names. All others are left alone, also by pruning:
``git worktree prune`` is never run because it cleans up after everybody.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from controller.errors import Conflict, Terminal

from .git import LONG, GitFailed
from .names import lock_reason
from .record import Record
from .repository import Repository, filters_off
from .safe_files import (
    TooLargeError,
    chown_tree,
    is_folder,
    is_there,
    kind_at,
    make_directories,
    read_text,
    remove_tree,
    write_file,
)
from .types import WorkspaceRef


@dataclass(frozen=True, slots=True)
class Registration:
    """A worktree as the repository knows it.

    Attributes:
        admin: absolute path of its administrative folder in the repository.
        worktree: absolute path of its files; ``None`` while git has not written it yet.
        lock: the reason it is locked with; ``None`` when it is not.
        head: content of its HEAD.
    """

    admin: str
    worktree: str | None
    lock: str | None
    head: str | None

    @property
    def id(self) -> str:
        """Name of the administrative folder."""
        return os.path.basename(self.admin)


def registrations(repository: Repository) -> list[Registration]:
    """Return all worktrees the repository knows, whatever state they are in; reads files only."""
    try:
        names = sorted(os.listdir(repository.worktrees))
    except FileNotFoundError:
        return []
    return [_registration(os.path.join(repository.worktrees, name)) for name in names]


def _registration(admin: str) -> Registration:
    def content(name: str) -> str | None:
        with suppress(NotADirectoryError):
            return read_text(os.path.join(admin, name))
        return None

    pointer = content("gitdir")
    worktree = os.path.dirname(os.path.normpath(os.path.join(admin, pointer))) if pointer else None
    return Registration(admin, worktree, content("locked"), content("HEAD"))


def find_ours(found: list[Registration], ref: WorkspaceRef, record: Record | None) -> Registration | None:
    """Return the worktree that is the instance's own, if any."""
    return next((registration for registration in found if _is_ours(registration, ref, record)), None)


def recall(repository: Repository, ref: WorkspaceRef, record: Record | None) -> Registration | None:
    """Return our worktree if it is where our memory says; saves reading all others of the repository."""
    if record is None or record.admin is None:
        return None
    registration = _registration(os.path.join(repository.worktrees, record.admin))
    return registration if _is_ours(registration, ref, record) else None


def _is_ours(registration: Registration, ref: WorkspaceRef, record: Record | None) -> bool:
    if registration.lock == lock_reason(ref.instance, ref.uid):
        return True
    remembered = record is not None and record.admin == registration.id
    return remembered and same_place(registration.worktree, ref.worktree)


def find_occupant(found: list[Registration], ref: WorkspaceRef, ours: Registration | None) -> Registration | None:
    """Return somebody else's worktree that is registered at our path."""
    for registration in found:
        if registration != ours and same_place(registration.worktree, ref.worktree):
            return registration
    return None


def same_place(one: str | None, other: str) -> bool:
    """Tell whether two paths lead to the same folder."""
    return one is not None and (one == other or os.path.realpath(one) == os.path.realpath(other))


def is_whole(registration: Registration) -> bool:
    """Tell whether the administrative folder has all that git needs."""
    return all(_is_written(os.path.join(registration.admin, name)) for name in ("HEAD", "commondir", "index"))


def is_readable(registration: Registration) -> bool:
    """Tell whether git can look at all worktrees of the repository in spite of this one."""
    return all(_is_written(os.path.join(registration.admin, name)) for name in ("gitdir", "HEAD", "commondir"))


_NO_COMMIT = re.compile(r"0{40}|0{64}")
"""What ``git worktree add`` writes into HEAD before it knows better (``add_worktree`` in builtin/worktree.c)."""


def _is_written(path: str) -> bool:
    """Tell whether a file is there with what it is to hold: git makes it first and fills it a moment later."""
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(info.st_mode) or info.st_size == 0:
        return False
    return os.path.basename(path) != "HEAD" or _NO_COMMIT.fullmatch(read_text(path) or "") is None


def _is_unwritten(path: str) -> bool:
    """Tell whether nothing is there, or a file that git was killed before filling: both may be written anew."""
    kind = kind_at(path)
    return kind is None or (kind == stat.S_IFREG and not _is_written(path))


def points_to(worktree: str, admin: str) -> bool | None:
    """Tell whether the worktree's ``.git`` file points to ``admin``; ``None`` when there is nothing.

    A file or folder that points anywhere else means that the folder is not the worktree we made.
    """
    dot_git = os.path.join(worktree, ".git")
    if _is_unwritten(dot_git):
        return None
    try:
        line = read_text(dot_git) or ""
    except TooLargeError:  # nor would git read it
        return False
    target = line.removeprefix("gitdir: ")
    return line.startswith("gitdir: ") and same_place(os.path.join(worktree, target), admin)


def is_unused(path: str) -> bool:
    """Tell whether nothing, or an empty folder, is at ``path``."""
    kind = kind_at(path)
    return kind is None or (kind == stat.S_IFDIR and not os.listdir(path))


def add(repository: Repository, ref: WorkspaceRef, lock_fd: int) -> Registration:
    """Register the worktree, without files yet.

    The caller holds the repository's lock; git inherits it, so that it stays held should we be killed.
    """
    make_directories(ref.worktree, repository.owner)
    reason = lock_reason(ref.instance, ref.uid)
    arguments = ("--no-checkout", "--lock", "--reason", reason, "--end-of-options", ref.worktree, ref.branch)
    try:
        repository.git.run("worktree", "add", "-q", *arguments, pass_fds=(lock_fd,))
    except GitFailed as error:
        if "already checked out" in error.stderr or "already used by worktree" in error.stderr:
            raise checked_out_elsewhere(ref, error.stderr) from error
        raise
    found = find_ours(registrations(repository), ref, None)
    if found is None:
        raise GitFailed(f"git worktree add made nothing at {ref.worktree}", "")
    return found


def checked_out_elsewhere(ref: WorkspaceRef, where: str) -> Terminal:
    """Return the error for a branch that a person, or another instance, works on."""
    return Terminal(
        "BranchCheckedOutElsewhere",
        f"branch {ref.branch!r} is already checked out at {where}: switch that one to another branch, or give the "
        "instance its own branch and this one as base_branch",
    )


def mend(repository: Repository, ref: WorkspaceRef, registration: Registration) -> None:
    """Give a registration of ours back what is missing, whether git was killed while writing it or a person erred.

    The caller holds the repository's lock. Nothing that has content is changed.
    """
    refuse_moved(ref, registration, wherever=True)
    make_directories(ref.worktree, repository.owner)
    worktree = os.path.realpath(ref.worktree)
    expected = {
        os.path.join(registration.admin, "gitdir"): f"{worktree}/.git",
        os.path.join(registration.admin, "commondir"): "../..",
        os.path.join(registration.admin, "HEAD"): f"ref: refs/heads/{ref.branch}",
        os.path.join(registration.admin, "locked"): lock_reason(ref.instance, ref.uid),
        os.path.join(worktree, ".git"): f"gitdir: {registration.admin}",
    }
    for path, line in expected.items():
        if _is_unwritten(path):
            write_file(path, f"{line}\n".encode(errors="surrogateescape"), mode=0o644, owner=repository.owner)


def refuse_moved(ref: WorkspaceRef, registration: Registration, *, wherever: bool = False) -> None:
    """Raise Conflict ``WorktreeMoved`` when the worktree stands elsewhere now, with whatever is in it.

    With ``wherever`` also when it is not to be found where it was moved to.
    """
    place = registration.worktree
    if place is None or same_place(place, ref.worktree) or not (wherever or is_there(place)):
        return
    raise Conflict(
        "WorktreeMoved",
        f"the worktree of instance {ref.instance!r} was moved to {place!r}: move it back with "
        f"'git worktree move -f -f {place} {ref.worktree}'",
    )


def was_pruned(repository: Repository, ref: WorkspaceRef, record: Record | None) -> bool:
    """Tell whether the folder is the worktree we made, and only the repository has forgotten it.

    Its ``.git`` still names the administrative folder that our memory names, and that is gone (or holds nothing yet:
    we were killed while making it again).
    """
    if record is None or record.admin is None or not is_folder(ref.worktree):
        return False
    admin = os.path.join(repository.worktrees, record.admin)
    return _holds_nothing(admin) and points_to(ref.worktree, admin) is True


def _holds_nothing(folder: str) -> bool:
    """Tell whether a folder is missing, or has nothing but a file that somebody was killed while writing aside."""
    kind = kind_at(folder)
    if kind != stat.S_IFDIR:
        return kind is None
    return all(name.startswith(".") and name.endswith(".new") for name in os.listdir(folder))


def revive(repository: Repository, ref: WorkspaceRef, record: Record) -> Registration | None:
    """Register a worktree again that was pruned; ``None`` for one that was not. The caller holds the lock."""
    if record.admin is None or not was_pruned(repository, ref, record):
        return None
    admin = os.path.join(repository.worktrees, record.admin)
    make_directories(admin, repository.owner)
    registration = Registration(admin, None, None, None)
    mend(repository, ref, registration)
    return registration


def is_empty(worktree: str) -> bool:
    """Tell whether a worktree holds no files (its ``.git`` aside)."""
    return set(os.listdir(worktree)) <= {".git"}


def fill(
    repository: Repository,
    ref: WorkspaceRef,
    admin: str,
    lock_fd: int,
    config: Mapping[str, str],
    *,
    tree: str | None = None,
) -> None:
    """Write the files of HEAD, or those of ``tree`` with the index at HEAD, and hand the folder to the agent.

    Overwrites: only for a worktree that is empty or was never complete. Filters do not run, so large files of
    LFS stay pointers and nothing is fetched. Git inherits the instance's lock: should we be killed, the next one
    to fill waits for it to end.
    """
    _clear_for_index(admin)
    git = repository.git.at(admin, ref.worktree).with_env(filters_off(config))
    if config.get("core.sparsecheckout") == "true" and config.get("extensions.worktreeconfig") == "true":
        # Git copied the setting; a person's next git command here would take files away under the agent.
        git.run("config", "--worktree", "core.sparseCheckout", "false")
    git.run("read-tree", "--reset", "-u", "--end-of-options", tree or "HEAD", timeout=LONG, pass_fds=(lock_fd,))
    if tree is not None:
        git.run("read-tree", "HEAD")
    give_away(repository, ref)


def give_away(repository: Repository, ref: WorkspaceRef) -> None:
    """Let the agent own the files, where that is not the repository's owner anyway."""
    if repository.owner != ref.owner:
        chown_tree(ref.worktree, ref.owner)


def has_index(admin: str) -> bool:
    """Tell whether there is an index; one that a power cut has emptied is none."""
    return _is_written(os.path.join(admin, "index"))


def make_index(repository: Repository, ref: WorkspaceRef, admin: str) -> None:
    """Make the index that is missing, with what HEAD has; no file is looked at.

    Raises:
        Retryable: ``GitFailed``.
    """
    _clear_for_index(admin)
    repository.git.at(admin, ref.worktree).run("read-tree", "HEAD")


def _clear_for_index(admin: str) -> None:
    """Take away what is in the way of an index where there is none."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(admin, "index.lock"))  # of a git that was killed here; ours alone, we hold the lock
    if not has_index(admin):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(admin, "index"))


def follow(repository: Repository, ref: WorkspaceRef, admin: str) -> bool:
    """Make the worktree's index agree with its branch; files are not looked at. False when it is busy.

    One-tree ``read-tree`` without ``-u`` touches no file and runs no filter; entries that stay the same keep
    their cached times.
    """
    if read_text(os.path.join(admin, "HEAD")) != f"ref: refs/heads/{ref.branch}":
        return True
    try:
        repository.git.at(admin, ref.worktree).run("read-tree", "-i", "-m", "HEAD")
    except GitFailed:  # a person uses git in the worktree at this moment, or is in the middle of a merge there
        return False
    return True


def unregister(repository: Repository, registration: Registration) -> None:
    """Remove one registration of ours whose files are gone."""
    path = registration.worktree
    if path is not None and is_there(path):  # git would remove what is there
        raise Conflict("PathOccupied", f"{path} is there again and stays as it is: move it away")
    if (
        path is not None
        and registration.head is not None
        and _is_written(os.path.join(registration.admin, "commondir"))
    ):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(registration.admin, "locked"))  # all that `git worktree unlock` does
        repository.git.run("worktree", "remove", "--end-of-options", path)
    else:
        remove_tree(registration.admin)


def remove_made(repository: Repository, ref: WorkspaceRef, folders: tuple[str, ...]) -> None:
    """Remove the folders that were made above the worktree, as far as they are empty.

    Where worktrees go by default is ours by its name, whichever of several instances made it.
    """
    parent = os.path.dirname(ref.worktree)
    if not folders and parent == f"{repository.path}.worktrees":
        folders = (parent,)
    for folder in reversed(folders):
        try:
            os.rmdir(folder)
        except OSError:
            return
