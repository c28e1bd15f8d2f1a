"""``/api/snapshots``: uncommitted work that was saved; the controller reads it from the repositories."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from controller.resources.snapshot import RestoreRequest, SnapshotDetail, SnapshotList, SnapshotRestored

from .dependencies import TheController, TheStore
from .documented import problems
from .parameters import answer

logger = logging.getLogger(__name__)

InstanceName = Annotated[
    str | None, Query(max_length=63, pattern=r"^[a-z0-9-]+$", description="Name of the instance whose work it is.")
]

router = APIRouter(prefix="/api/snapshots", tags=["snapshots"])


@router.get("", response_model=SnapshotList, responses=problems(409, 502))
def list_snapshots(
    store: TheStore,
    controller: TheController,
    repository: Annotated[str | None, Query(max_length=63, description="Only of this repository.")] = None,
    instance: InstanceName = None,
) -> Response:
    """List the snapshots in all registered repositories, also those of instances that are gone."""
    only = store.repositories.get(repository).metadata.name if repository is not None else None
    return answer(controller.snapshots(only, instance))


@router.get("/{repository}/{id}", response_model=SnapshotDetail, responses=problems(409, 502))
def get_snapshot(
    store: TheStore,
    controller: TheController,
    repository: str,
    snapshot_id: Annotated[str, Path(alias="id")],
    *,
    instance: InstanceName = None,
    diff: Annotated[bool, Query(description="Add the difference as text, at most 256 KiB of it.")] = False,
) -> Response:
    """Show a snapshot with the files that differ from the commit it stands on."""
    known = store.repositories.get(repository).metadata.name
    return answer(controller.snapshot(known, snapshot_id, instance, diff=diff))


@router.post("/{repository}/{id}/restore", response_model=SnapshotRestored, responses=problems(409, 502))
def restore_snapshot(
    store: TheStore,
    controller: TheController,
    repository: str,
    snapshot_id: Annotated[str, Path(alias="id")],
    body: RestoreRequest,
    instance: InstanceName = None,
) -> Response:
    """Bring a snapshot back: to a new branch, to a new folder, or into an instance that rests.

    Nothing that exists is overwritten: a conflict is refused and changes nothing. The snapshot stays.
    """
    known = store.repositories.get(repository).metadata.name
    done = controller.restore_snapshot(known, snapshot_id, instance, body)
    logger.info("snapshot restored", extra={"cco_repository": known, "cco_snapshot": done.snapshot.id})
    return answer(done)
