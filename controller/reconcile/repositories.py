"""One pass of one repository: look at it and say whether instances can be made from it. Nothing is ever changed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Protocol

from controller.errors import NotFound, Retryable, Terminal
from controller.manifests import Manifests
from controller.resources import ConditionStatus, Instance, Repository, RepositoryStatus, set_condition
from controller.workspace.types import RepositoryState, Workspaces

from .loop import Request, Result

logger = logging.getLogger(__name__)


class RepositoryRows(Protocol):
    """The repositories' rows."""

    def get(self, name: str) -> Repository:
        """Return the repository; raises NotFound."""

    def update_status(self, uid: str, status: RepositoryStatus) -> bool:
        """Write the status if it differs."""

    def purge(self, uid: str) -> object:
        """Drop the row; idempotent."""


class InstancesOf(Protocol):
    """The instances that were made from a repository."""

    def list(self, *, repository: str | None = None) -> list[Instance]:
        """Return them."""


@dataclass(frozen=True, slots=True)
class RepositoryReconciler:
    """Keeps ``Repository.status`` true; ``on_change`` wakes the instances that wait for it."""

    repositories: RepositoryRows
    instances: InstancesOf
    workspaces: Workspaces
    manifests: Manifests
    root: Path | None
    on_change: Callable[[str], None]
    clock: Callable[[], datetime]

    def reconcile(self, request: Request) -> Result:
        """Do one pass."""
        try:
            repository = self.repositories.get(request.name)
        except NotFound:
            return Result()
        users = self.instances.list(repository=request.name)
        if repository.metadata.deletion_requested_at is not None and not users:
            self.manifests.forget_repository(request.name)
            self.repositories.purge(repository.metadata.uid)
            return Result()
        self._remember(repository)
        status, error = self._look(repository)
        if self.repositories.update_status(repository.metadata.uid, status) and status != repository.status:
            for instance in users:
                self.on_change(instance.metadata.name)
        if error is not None:
            raise error
        return Result()

    def _remember(self, repository: Repository) -> None:
        """Keep what was declared beside the database, too; where that fails, instances still wait for the look."""
        try:
            self.manifests.remember(repository)
        except Retryable as error:
            extra = {"cco_name": repository.metadata.name, "cco_reason": error.reason}
            logger.warning("not written down: %s", error.message, extra=extra)

    def _look(self, repository: Repository) -> tuple[RepositoryStatus, Retryable | None]:
        """Return what is known now, and what kept the look from knowing."""
        try:
            state = self._inspect(repository)
        except Terminal as error:
            known = repository.status
            return self._verdict(repository, known, ConditionStatus.FALSE, error.reason, error.message), None
        except Retryable as error:
            known = repository.status
            return self._verdict(repository, known, ConditionStatus.UNKNOWN, error.reason, error.message), error
        status = repository.status.model_copy(
            update={
                "git_dir": state.git_dir,
                "default_branch": state.default_branch,
                "head": state.head,
                "owner_uid": state.owner[0],
                "owner_gid": state.owner[1],
                "warnings": state.warnings,
            }
        )
        return self._verdict(repository, status, ConditionStatus.TRUE, "Ready", ""), None

    def _inspect(self, repository: Repository) -> RepositoryState:
        path = PurePosixPath(repository.spec.path)
        if self.root is not None and not _lies_below(path, self.root):
            message = (
                f"spec.path {str(path)!r} is outside {str(self.root)!r}, the part of this machine the controller can "
                f"see; set CCO_ROOT to a folder above it and run 'make up' again"
            )
            raise Terminal("OutsideRoot", message)
        state = self.workspaces.inspect_repository(repository.spec.path)
        if state.head is None:
            raise Terminal("EmptyRepository", f"{path} has no commit yet; make a first one ('git commit')")
        wished = repository.spec.base_branch
        if wished is not None and wished not in state.branches:
            known = ", ".join(state.branches[:10]) or "none"
            raise Terminal("BaseBranchNotFound", f"spec.base_branch {wished!r} is no branch of {path}; it has: {known}")
        return state

    def _verdict(
        self, repository: Repository, status: RepositoryStatus, answer: ConditionStatus, reason: str, message: str
    ) -> RepositoryStatus:
        generation = repository.metadata.generation
        conditions = set_condition(
            repository.status.conditions, "Ready", answer, reason, message, generation=generation, now=self.clock()
        )
        return status.model_copy(update={"conditions": conditions, "observed_generation": generation})


def _lies_below(path: PurePosixPath, root: Path) -> bool:
    """Tell whether a path is inside a folder both as it is written and with its symbolic links followed."""
    followed = Path(os.path.realpath(path))
    return path.is_relative_to(root) and followed.is_relative_to(os.path.realpath(root))
