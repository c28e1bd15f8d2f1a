"""The fake of the inventory of a disk: the worktrees of a :class:`FakeGit`, all known to the state directory."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import PurePath

from controller.workspace.inventory import FailedLook, Holding, HoldingKind, Inventory
from controller.workspace.types import WorkspaceRef

from .fake_workspaces import FakeGit


class FakeDisk:
    """Implements ``controller.orphans.survey.Disk``; what is there is as old as the test says.

    Attributes:
        failures: places that cannot be looked at now.
        tidied: instance folders that were removed.
    """

    def __init__(self, git: FakeGit, created_at: Callable[[], datetime]) -> None:
        self.git = git
        self.failures: list[FailedLook] = []
        self.tidied: list[str] = []
        self._created_at = created_at

    def take(self, repositories: Collection[str]) -> Inventory:
        found = []
        for path, worktree in sorted(self.git.worktrees.items()):
            instance = PurePath(path).name
            private = f"/state/instances/{instance}/git"
            ref = WorkspaceRef(
                instance=instance,
                uid=worktree.uid,
                repository=next(iter(repositories), "/repositories/shop"),
                branch=worktree.branch,
                base_branch=None,
                worktree=path,
                private=private,
                attempt=1,
                owner=(1000, 1000),
            )
            for kind, place in ((HoldingKind.WORKTREE, path), (HoldingKind.GIT_DIRECTORY, private)):
                found.append(Holding(kind, place, instance, worktree.uid, ref, self._created_at(), ours=True))
        return Inventory(tuple(found), tuple(self.failures))

    def adopt(self, holding: Holding) -> None:
        del holding

    def tidy(self, holding: Holding) -> None:
        self.tidied.append(holding.instance)
