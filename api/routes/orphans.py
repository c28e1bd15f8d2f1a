"""``/api/orphans``: what is ours on the machine and belongs to no instance; the controller looks and removes."""

from __future__ import annotations

from fastapi import APIRouter, Response

from controller.resources.orphan import OrphanList, SweepReport, SweepRequest

from .dependencies import TheController
from .documented import problems
from .parameters import answer

router = APIRouter(prefix="/api/orphans", tags=["orphans"])


@router.get("", response_model=OrphanList, responses=problems(409, 502))
def list_orphans(controller: TheController) -> Response:
    """Look at runtimes, repositories and state directory, and list what belongs to no declared instance.

    Changes nothing. Takes as long as it takes to read the worktrees among them.
    """
    return answer(controller.orphans())


@router.post("/sweep", response_model=SweepReport, responses=problems(409, 502))
def sweep_orphans(controller: TheController, body: SweepRequest) -> Response:
    """Remove the orphans with these ids, as far as that is safe; the work in them is saved first.

    What changed since it was listed is left alone. Repeating it does nothing more.
    """
    return answer(controller.sweep_orphans(body))
