"""Snapshots of registered repositories: which there are, what is in one, bringing one back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from controller.errors import CcoError, Terminal
from controller.reconcile.execute import EventSink
from controller.resources import EventType, Instance, Kind, Repository, SessionState
from controller.resources.snapshot import (
    FileChange,
    FileStatus,
    RestoreRequest,
    Snapshot,
    SnapshotDetail,
    SnapshotList,
    SnapshotRestored,
    UnreadRepository,
)
from controller.runtime.choice import Runtimes
from controller.runtime.protocol import WorkloadState
from controller.workspace.types import (
    RestoreTarget,
    SavedWork,
    ToBranch,
    ToFolder,
    ToWorkspace,
    WorkspaceRef,
    Workspaces,
)

from .routes import NotUnderstood, Route, StreamRequest

_AT_REST = {WorkloadState.EXITED, WorkloadState.CREATED}


class RepositoryRows(Protocol):
    """The registered repositories."""

    def get(self, name: str) -> Repository:
        """Return one; raises NotFound."""

    def list(self) -> Sequence[Repository]:
        """Return all."""


class InstanceRows(Protocol):
    """The declared instances."""

    def get(self, name: str) -> Instance:
        """Return one; raises NotFound."""

    def list(self) -> Sequence[Instance]:
        """Return all."""


@dataclass(frozen=True, slots=True)
class SnapshotStreams:
    """Answers about snapshots.

    Attributes:
        place: returns the workspace of an instance of a repository.
        root: the part of the machine the controller can see; ``None`` = all of it.
    """

    repositories: RepositoryRows
    instances: InstanceRows
    workspaces: Workspaces
    runtimes: Runtimes
    events: EventSink
    place: Callable[[Instance, Repository], WorkspaceRef]
    root: Path | None

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("GET", "/snapshots", self.list),
            Route("GET", "/snapshots/{repository}/{id}", self.show),
            Route("POST", "/snapshots/{repository}/{id}/restore", self.restore),
        ]

    def list(self, request: StreamRequest) -> object:
        """Return the snapshots of one or all repositories, one or all instances."""
        only, instance = request.query.get("repository"), request.query.get("instance")
        items: list[Snapshot] = []
        skipped: list[UnreadRepository] = []
        for repository in [self.repositories.get(only)] if only else self.repositories.list():
            name = repository.metadata.name
            try:
                works = self.workspaces.snapshots(repository.spec.path, instance=instance)
            except CcoError as error:
                if only:
                    raise
                skipped.append(UnreadRepository(repository=name, reason=error.reason, message=error.message))
                continue
            items.extend(_snapshot(name, work) for work in works)
        items.sort(key=lambda each: (each.taken_at, each.repository, each.instance))
        return SnapshotList(items=tuple(items), skipped=tuple(skipped)).model_dump(mode="json")

    def show(self, request: StreamRequest) -> object:
        """Return one with its files, and with ``diff=1`` the difference as text."""
        repository = self.repositories.get(request.path["repository"])
        detail = self.workspaces.show_snapshot(
            repository.spec.path,
            request.path["id"],
            instance=request.query.get("instance"),
            diff=request.query.get("diff") in {"1", "true"},
        )
        answer = SnapshotDetail(
            **_snapshot(repository.metadata.name, detail.work).model_dump(),
            text=detail.text,
            changes=tuple(
                FileChange(status=FileStatus(each.kind), **{k: v for k, v in asdict(each).items() if k != "kind"})
                for each in detail.changes
            ),
            insertions=detail.insertions,
            deletions=detail.deletions,
            diff=detail.diff,
            diff_cut=detail.diff_cut,
        )
        return answer.model_dump(mode="json")

    def restore(self, request: StreamRequest) -> object:
        """Bring one back to where the body says."""
        try:
            wish = RestoreRequest.model_validate(dict(request.body))
        except ValidationError as error:
            raise NotUnderstood(HTTPStatus.BAD_REQUEST, str(error.errors()[0]["msg"])) from None
        repository = self.repositories.get(request.path["repository"])
        path, identity, whose = repository.spec.path, request.path["id"], request.query.get("instance")
        target = self._target(wish, repository)
        work = self.workspaces.show_snapshot(path, identity, instance=whose).work  # before: what was done is no failure
        done = self.workspaces.restore_snapshot(path, identity, target, instance=whose)
        known = self.workspaces.snapshots(path) if done.previous is not None else ()
        previous = next((each for each in known if each.commit == done.previous), None)
        answer = SnapshotRestored(
            snapshot=_snapshot(repository.metadata.name, work),
            branch=done.branch,
            path=done.path,
            into=wish.into,
            files=done.files,
            previous=previous.id if previous is not None else None,
            skipped=tuple(os.fsencode(each).decode("utf-8", "backslashreplace") for each in done.skipped),
        )
        self._tell(answer, repository)
        return answer.model_dump(mode="json")

    def _target(self, wish: RestoreRequest, repository: Repository) -> RestoreTarget:
        if wish.path is not None:
            self._check_folder(wish.path)
            return ToFolder(wish.path)
        if wish.into is not None:
            return ToWorkspace(self._resting(wish.into, repository))
        return ToBranch(wish.branch)

    def _check_folder(self, path: str) -> None:
        """Refuse what the controller cannot see, and folders that an agent could change while they are written."""
        place = Path(path).resolve()
        if self.root is not None and not place.is_relative_to(self.root.resolve()):
            raise Terminal(
                "OutsideRoot",
                f"path {path!r} is outside {str(self.root)!r}, the part of this machine the controller can see: name a "
                "folder in it",
            )
        for instance in self.instances.list():
            workspace = instance.status.workspace
            if workspace is not None and place.is_relative_to(Path(workspace.path).resolve()):
                message = f"path {path!r} lies in the worktree of instance {instance.metadata.name!r}: name another one"
                raise Terminal("InvalidPath", message)

    def _resting(self, name: str, repository: Repository) -> WorkspaceRef:
        """Return the workspace of an instance in which nobody works at the moment."""
        instance = self.instances.get(name)
        if instance.spec.repository != repository.metadata.name:
            message = (
                f"instance {name!r} belongs to repository {instance.spec.repository!r}: name one of this repository"
            )
            raise Terminal("OtherRepository", message)
        if instance.metadata.deletion_requested_at is not None:
            raise Terminal("WorktreeNotReady", f"instance {name!r} is being deleted: restore to a branch or a folder")
        session = instance.status.session
        workloads = self.runtimes.of(instance).inspect(instance.metadata.uid)
        idle = session is not None and session.state is SessionState.IDLE
        if not idle and any(workload.state not in _AT_REST for workload in workloads):
            waits = session is not None and session.state is SessionState.WAITING
            how = (
                f"Claude waits for an answer in instance {name!r}: give it ('cco attach {name}')"
                if waits
                else f"Claude is at work in instance {name!r}: wait until it is idle "
                f"('cco wait {name} --for state=IDLE')"
            )
            raise Terminal("InstanceBusy", f"{how}, or suspend it ('cco instance suspend {name}')")
        return self.place(instance, repository)

    def _tell(self, done: SnapshotRestored, repository: Repository) -> None:
        where = f"branch {done.branch}" if done.branch is not None else done.path
        message = f"snapshot {done.snapshot.id} of {done.snapshot.instance} was restored to {where}"
        if done.into is not None:
            meta = self.instances.get(done.into).metadata
            self.events.record(Kind.INSTANCE, meta.name, meta.uid, EventType.NORMAL, "SnapshotRestored", message)
        else:
            meta = repository.metadata
            self.events.record(Kind.REPOSITORY, meta.name, meta.uid, EventType.NORMAL, "SnapshotRestored", message)


def _snapshot(repository: str, work: SavedWork) -> Snapshot:
    return Snapshot(
        id=work.id,
        repository=repository,
        instance=work.instance,
        uid=work.uid,
        taken_at=work.taken_at,
        commit=work.commit,
        ref=f"refs/cco/snapshots/{work.instance}/{work.id}",
        base=work.base,
        branch=work.branch,
        message=work.message,
        files=work.files,
    )
