"""``/api/doctor``: is everything well, as the server and the controller see it; and what can be mended at once."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from api.advice import START
from api.problems import Refused
from controller.errors import Unavailable
from controller.logs import recent_lines
from controller.release import program_version
from controller.resources.check import Check, CheckGroup, CheckStatus, Diagnosis, RecentLogs, Repairs, in_order

from .dependencies import TheController
from .documented import problems
from .parameters import answer

router = APIRouter(prefix="/api/doctor", tags=["doctor"])


@router.get("", response_model=Diagnosis)
def get_diagnosis(controller: TheController) -> Response:
    """Look at everything the server and the controller can see; changes nothing and takes some seconds at most.

    A controller that does not answer is one of the findings, not an error.
    """
    try:
        found = controller.diagnosis()
    except (Unavailable, Refused) as error:
        check = _controller(CheckStatus.FAIL, error.message)
        return answer(Diagnosis(version=program_version(), at=datetime.now(UTC), checks=(check,)))
    if found.version == program_version():
        check = _controller(CheckStatus.OK, f"answers, version {found.version}")
    else:
        message = f"is of version {found.version}, the server of {program_version()}: restart both ({START})"
        check = _controller(CheckStatus.FAIL, message)
    return answer(found.model_copy(update={"checks": in_order((check, *found.checks))}))


@router.post("/repairs", response_model=Repairs, responses=problems(409, 502))
def create_repairs(controller: TheController) -> Response:
    """Mend what is safe to mend (make a missing network), and tell what was done; repeating it does nothing more."""
    return answer(controller.repair())


@router.get("/logs", response_model=RecentLogs)
def get_recent_logs(controller: TheController) -> Response:
    """Return the newest log lines of server and controller."""
    try:
        theirs = controller.recent_log()
    except (Unavailable, Refused):
        theirs = None
    return answer(RecentLogs(server=recent_lines(), controller=theirs))


def _controller(status: CheckStatus, message: str) -> Check:
    return Check(name="controller", group=CheckGroup.SYSTEM, status=status, message=message)
