"""The way to the controller for what only it can tell: plans, logs, how to attach. HTTP over its unix socket."""

from __future__ import annotations

import http.client
import socket
import threading
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ValidationError

from controller.errors import Unavailable
from controller.resources.check import CheckStatus, Diagnosis, Repairs
from controller.resources.orphan import OrphanList, SweepReport, SweepRequest
from controller.resources.snapshot import RestoreRequest, SnapshotDetail, SnapshotList, SnapshotRestored

from .advice import CONTROLLER_LOG, START
from .problems import Refused
from .wire import Attach, EngineAnswer, PartHealth, Plan, Problem

TIMEOUT_SECONDS: Final = 20.0
LOOK_TIMEOUT_SECONDS: Final = 9.0
"""Less than a client waits, more than the controller waits for an engine that does not answer."""
HEALTH_TIMEOUT_SECONDS: Final = 2.0
HOUSEKEEPING_TIMEOUT_SECONDS: Final = 280.0
"""Less than a client waits; worktrees that nobody knows are read, and saved, whole."""
MOST_WAITING: Final = 16
"""Every question holds a thread of the server until it is answered; the others are for reading what is stored."""
Answer = TypeVar("Answer", bound=BaseModel)
_PASSED_ON: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE})


class ControllerLink:
    """Asks the controller, one short connection per question; safe to use from many threads.

    Args:
        path: ``settings.controller_socket``; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is open: nothing, as long as every question has a connection of its own."""

    def plan(self, name: str) -> Plan:
        """Return what the next pass over the instance would do."""
        return self.ask("GET", f"/instances/{name}/plan", Plan, timeout=LOOK_TIMEOUT_SECONDS)

    def attach(self, name: str, *, read_only: bool) -> Attach:
        """Return the command that attaches a terminal."""
        query = urlencode({"read_only": int(read_only)})
        return self.ask("GET", f"/instances/{name}/attach?{query}", Attach, timeout=LOOK_TIMEOUT_SECONDS)

    def logs(self, name: str, *, tail: int) -> bytes:
        """Return the last lines the instance's container printed."""
        target = f"/instances/{name}/logs?{urlencode({'tail': tail})}"
        return self._send("GET", target, timeout=LOOK_TIMEOUT_SECONDS)

    def health(self) -> PartHealth:
        """Tell whether it answers; never raises."""
        try:
            self._send("GET", "/health", timeout=HEALTH_TIMEOUT_SECONDS)
        except (Unavailable, Refused) as error:
            return PartHealth(status="unavailable", detail=error.message)
        return PartHealth(status="ok")

    def engine_health(self) -> PartHealth | None:
        """Tell whether the engine answers the controller; ``None`` where none is needed or nobody knows."""
        try:
            check = self.ask("GET", "/engine", EngineAnswer, timeout=HEALTH_TIMEOUT_SECONDS).check
        except (Unavailable, Refused):
            return None
        if check is None:
            return None
        if check.status in {CheckStatus.OK, CheckStatus.WARN}:
            return PartHealth(status="ok")
        # Health is told to anybody; the details are for those with the token.
        return PartHealth(status="unavailable", detail="the engine does not answer the controller: see 'cco doctor'")

    def diagnosis(self) -> Diagnosis:
        """Return what the controller finds when it looks at everything."""
        return self.ask("GET", "/doctor", Diagnosis, timeout=LOOK_TIMEOUT_SECONDS)

    def repair(self) -> Repairs:
        """Let the controller mend what is safe to mend."""
        return self.ask("POST", "/doctor/repairs", Repairs)

    def recent_log(self) -> str:
        """Return the newest lines the controller logged."""
        return self._send("GET", "/doctor/log").decode("utf-8", "replace")

    def orphans(self) -> OrphanList:
        """Return what belongs to no declared instance."""
        return self.ask("GET", "/orphans", OrphanList, timeout=HOUSEKEEPING_TIMEOUT_SECONDS)

    def sweep_orphans(self, request: SweepRequest) -> SweepReport:
        """Let the controller remove orphans, and return what became of each."""
        return self.ask("POST", "/orphans/sweep", SweepReport, body=request, timeout=HOUSEKEEPING_TIMEOUT_SECONDS)

    def snapshots(self, repository: str | None, instance: str | None) -> SnapshotList:
        """Return the snapshots of one or all repositories, one or all instances."""
        query = _query(repository=repository, instance=instance)
        return self.ask("GET", f"/snapshots{query}", SnapshotList, timeout=HOUSEKEEPING_TIMEOUT_SECONDS)

    def snapshot(self, repository: str, snapshot_id: str, instance: str | None, *, diff: bool) -> SnapshotDetail:
        """Return one snapshot with its files."""
        query = _query(instance=instance, diff="1" if diff else None)
        target = f"/snapshots/{repository}/{quote(snapshot_id, safe='')}{query}"
        return self.ask("GET", target, SnapshotDetail, timeout=HOUSEKEEPING_TIMEOUT_SECONDS)

    def restore_snapshot(
        self,
        repository: str,
        snapshot_id: str,
        instance: str | None,
        request: RestoreRequest,
    ) -> SnapshotRestored:
        """Let the controller bring a snapshot back."""
        target = f"/snapshots/{repository}/{quote(snapshot_id, safe='')}/restore{_query(instance=instance)}"
        return self.ask("POST", target, SnapshotRestored, body=request, timeout=HOUSEKEEPING_TIMEOUT_SECONDS)

    def ask(
        self,
        method: str,
        target: str,
        answer: type[Answer],
        *,
        body: BaseModel | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Answer:
        """Send one request and return its answer.

        Args:
            method: ``GET`` for looks, ``POST`` for acts.
            target: path and query.
            answer: what is expected.
            body: sent as JSON.
            timeout: seconds until the answer has to be there.

        Raises:
            Refused: the controller said no; its reason and words are passed on.
            Unavailable: ``ControllerUnavailable``.
        """
        try:
            return answer.model_validate_json(self._send(method, target, body=body, timeout=timeout))
        except ValidationError as error:
            raise _not_understood() from error

    def _send(
        self, method: str, target: str, *, body: BaseModel | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> bytes:
        text = None if body is None else body.model_dump_json().encode()
        connection = _Connection(self._path, timeout)
        if not self._waiting.acquire(blocking=False):
            raise _busy()
        try:
            connection.request(method, target, text)
            response = connection.getresponse()
            status, received = response.status, response.read()
        except TimeoutError as error:
            raise _unavailable("did not answer in time") from error
        except (OSError, http.client.HTTPException) as error:
            raise _unavailable("is not running") from error
        finally:
            connection.close()
            self._waiting.release()
        if status == HTTPStatus.OK:
            return received
        try:
            problem = Problem.model_validate_json(received)
        except ValidationError as error:
            raise _not_understood() from error
        passed = status if status in _PASSED_ON else HTTPStatus.BAD_GATEWAY
        raise Refused(passed, problem.reason, problem.detail)


def _query(**values: str | None) -> str:
    given = {key: value for key, value in values.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


class _Connection(http.client.HTTPConnection):
    """To a unix socket. Not httpx: it leaves the socket open when nobody listens."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("controller", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of the host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _unavailable(what: str) -> Unavailable:
    return Unavailable(
        "ControllerUnavailable",
        f"the controller {what}, so only stored state can be shown: start it with {START}, or see its log "
        f"({CONTROLLER_LOG})",
        delay=2.0,
    )


def _busy() -> Unavailable:
    return Unavailable(
        "ControllerBusy",
        f"{MOST_WAITING} questions wait for the controller already, as they do when the Docker engine does not answer: "
        "see 'cco status', and try again",
        delay=2.0,
    )


def _not_understood() -> Refused:
    return Refused(
        HTTPStatus.BAD_GATEWAY,
        "ControllerProblem",
        "the controller's answer was not understood: are server and controller of the same version?",
    )
