"""The way to the controller for what only it can tell: plans, logs, how to attach. HTTP over its unix socket."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import ValidationError

from controller.errors import Unavailable

from .problems import Refused
from .wire import Attach, PartHealth, Plan, Problem

TIMEOUT_SECONDS: Final = 20.0
HEALTH_TIMEOUT_SECONDS: Final = 2.0
_PASSED_ON: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE})


class ControllerLink:
    """Asks the controller; safe to use from many threads.

    Args:
        socket: ``settings.controller_socket``; it need not exist yet.
        transport: replaces the socket, for tests.
    """

    def __init__(self, socket: Path, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url="http://controller",
            transport=transport or httpx.HTTPTransport(uds=str(socket)),
            timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=HEALTH_TIMEOUT_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._http.close()

    def plan(self, name: str) -> Plan:
        """Return what the next pass over the instance would do."""
        response = self._get(f"/instances/{name}/plan")
        try:
            return Plan.model_validate_json(response.content)
        except ValidationError as error:
            raise _not_understood() from error

    def attach(self, name: str, *, read_only: bool) -> Attach:
        """Return the command that attaches a terminal."""
        response = self._get(f"/instances/{name}/attach", {"read_only": int(read_only)})
        try:
            return Attach.model_validate_json(response.content)
        except ValidationError as error:
            raise _not_understood() from error

    def logs(self, name: str, *, tail: int) -> bytes:
        """Return the last lines the instance's container printed."""
        return self._get(f"/instances/{name}/logs", {"tail": tail}).content

    def health(self) -> PartHealth:
        """Tell whether it answers; never raises."""
        try:
            self._get("/health", timeout=HEALTH_TIMEOUT_SECONDS)
        except (Unavailable, Refused) as error:
            return PartHealth(status="unavailable", detail=error.message)
        return PartHealth(status="ok")

    def _get(self, path: str, params: dict[str, Any] | None = None, timeout: float | None = None) -> httpx.Response:
        limit = httpx.USE_CLIENT_DEFAULT if timeout is None else timeout
        try:
            response = self._http.get(path, params=params, timeout=limit)
        except httpx.TimeoutException as error:
            raise _unavailable("did not answer in time") from error
        except httpx.HTTPError as error:
            raise _unavailable("is not running") from error
        if response.is_success:
            return response
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError as error:
            raise _not_understood() from error
        status = response.status_code if response.status_code in _PASSED_ON else HTTPStatus.BAD_GATEWAY
        raise Refused(status, problem.reason, problem.detail)


def _unavailable(what: str) -> Unavailable:
    return Unavailable(
        "ControllerUnavailable",
        f"the controller {what}, so only stored state can be shown: see 'docker compose ps' and 'docker compose logs "
        "controller'",
        delay=2.0,
    )


def _not_understood() -> Refused:
    return Refused(
        HTTPStatus.BAD_GATEWAY,
        "ControllerProblem",
        "the controller's answer was not understood: are server and controller of the same version?",
    )
