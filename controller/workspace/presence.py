"""Looking at one workspace without git: what is there, whose it is, and what is missing."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from . import private, record
from .record import Record, StatePaths
from .repository import Repository
from .safe_files import is_file, is_folder, kind_at
from .types import Presence, WorkspaceRef
from .worktree import (
    Registration,
    find_occupant,
    find_ours,
    is_unused,
    is_whole,
    points_to,
    recall,
    registrations,
    same_place,
    was_pruned,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What stands where the workspace should be.

    Attributes:
        detail: for people: why it is broken or foreign, or what is odd about one that is ready.
    """

    presence: Presence
    detail: str
    record: Record | None
    registration: Registration | None


def look(repository: Repository, ref: WorkspaceRef) -> Found:
    """Judge the workspace; raises Unavailable when a part cannot be read."""
    memory = record.load(StatePaths.of(ref))
    if memory is not None and memory.uid != ref.uid:
        return Found(Presence.FOREIGN, f"{ref.private} belongs to the instance with uid {memory.uid}", memory, None)
    ours = recall(repository, ref, memory)
    every = [] if ours is not None else registrations(repository)
    ours = ours or find_ours(every, ref, memory)
    foreign = "" if ours is None and was_pruned(repository, ref, memory) else _foreign(every, ref, ours)
    if foreign:
        return Found(Presence.FOREIGN, foreign, memory, ours)
    if memory is None and ours is None:
        if private.exists(ref):
            return Found(Presence.FOREIGN, f"{ref.private} exists and nothing says whose it is", None, None)
        return Found(Presence.ABSENT, "", None, None)
    problem = _problem(ref, ours, memory)
    if problem:
        return Found(Presence.BROKEN, problem, memory, ours)
    return Found(Presence.READY, _oddity(ref, ours, memory), memory, ours)


def _foreign(every: list[Registration], ref: WorkspaceRef, ours: Registration | None) -> str:
    occupant = find_occupant(every, ref, ours)
    if occupant is not None:
        return f"{ref.worktree} is a worktree that cc-orchestrator did not make for this instance"
    kind = kind_at(ref.worktree)
    if ours is None or kind is None:
        return "" if is_unused(ref.worktree) else f"{ref.worktree} exists and is not ours"
    if kind != stat.S_IFDIR:
        return f"{ref.worktree} is no folder"
    if points_to(ref.worktree, ours.admin) is False:
        return f"{ref.worktree}/.git does not point to the worktree that was made there"
    return ""


def _problem(ref: WorkspaceRef, ours: Registration | None, memory: Record | None) -> str:
    """Return what is missing, the worst first."""
    if ours is None:
        return "the repository no longer knows the worktree"
    if memory is None or not memory.complete or memory.refilling:
        return "it was not completely made"
    problems = (
        (not is_folder(ref.worktree), f"the folder {ref.worktree} is gone"),
        (points_to(ref.worktree, ours.admin) is None, f"{ref.worktree}/.git is gone"),
        (not same_place(ours.worktree, ref.worktree), f"the worktree was moved to {ours.worktree}"),
        (not is_whole(ours), f"{ours.admin} is damaged"),
        (not private.exists(ref) or not is_file(StatePaths.of(ref).pointer), "its git directory is gone"),
        (private.is_damaged(ref), f"its git directory {ref.private} is damaged"),
    )
    return next((text for wrong, text in problems if wrong), "")


def _oddity(ref: WorkspaceRef, ours: Registration | None, memory: Record | None) -> str:
    if memory is not None and memory.branch != ref.branch:
        return f"it was made for branch {memory.branch!r}; to work on {ref.branch!r}, declare another instance"
    expected = f"ref: refs/heads/{ref.branch}"
    if ours is not None and ours.head != expected:
        return f"in {ref.worktree} somebody switched away from branch {ref.branch!r}; commits still come home to it"
    return ""
