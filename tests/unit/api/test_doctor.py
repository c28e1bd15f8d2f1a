"""``/api/doctor`` with a controller that answers, with none, and with one of another version; and health's engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from api.client import ApiError, Client
from controller.errors import Conflict
from controller.release import program_version
from controller.resources.check import Check, CheckStatus, Diagnosis
from controller.settings import Settings
from controller.streams import Route, StreamServer

Serve = Callable[..., None]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Play the controller on its socket; what is not given is not answered."""
    running: list[StreamServer] = []

    def start(**answers: Any) -> None:  # noqa: ANN401  # whatever a handler may return
        paths = {
            "doctor": ("GET", "/doctor"),
            "repairs": ("POST", "/doctor/repairs"),
            "log": ("GET", "/doctor/log"),
            "engine": ("GET", "/engine"),
        }
        server = StreamServer(settings.controller_socket, list(routes(paths, answers)))
        server.start()
        running.append(server)

    yield start
    for server in running:
        server.stop()


def routes(paths: dict[str, tuple[str, str]], answers: dict[str, Any]) -> Iterator[Route]:
    for name, answer in answers.items():
        method, path = paths[name]
        yield Route(method, path, answer if callable(answer) else partial(_say, answer))


def _say(answer: object, _: object) -> object:
    return answer


def diagnosis(version: str | None = None, checks: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    return {"version": version or program_version(), "at": datetime.now(UTC).isoformat(), "checks": list(checks)}


DISK = {"name": "disk", "group": "Storage and capacity", "status": "OK", "message": "70Gi free"}
NEWER = {"name": "weather", "group": "Sky", "status": "OK", "message": "sunny", "colour": "blue"}


def statuses(found: Diagnosis) -> dict[str, CheckStatus]:
    return {check.name: check.status for check in found.checks}


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/repairs"), ("GET", "/logs")])
def test_strangers_are_told_nothing(stranger: httpx.Client, method: str, path: str) -> None:
    assert stranger.request(method, f"/api/doctor{path}").status_code == HTTPStatus.UNAUTHORIZED


@pytest.mark.usefixtures("store")
def test_no_controller_is_a_finding_and_no_error(client: Client) -> None:
    found = client.doctor()
    assert statuses(found) == {"controller": CheckStatus.FAIL}
    assert "not running" in found.checks[0].message
    assert found.version == program_version()


def test_what_the_controller_finds_is_passed_on(client: Client, serve: Serve) -> None:
    serve(doctor=diagnosis(checks=[DISK, NEWER]))
    found = client.doctor()
    assert statuses(found) == dict.fromkeys(("controller", "disk", "weather"), CheckStatus.OK)
    assert found.checks[1] == Check.model_validate(DISK)


def test_a_controller_of_another_version(client: Client, serve: Serve) -> None:
    serve(doctor=diagnosis("0.0.1", [DISK]))
    found = client.doctor()
    assert statuses(found) == {"controller": CheckStatus.FAIL, "disk": CheckStatus.OK}
    assert "0.0.1" in found.checks[0].message


def test_a_controller_that_is_not_understood(client: Client, serve: Serve) -> None:
    serve(doctor={"nonsense": True})
    assert statuses(client.doctor()) == {"controller": CheckStatus.FAIL}


def test_repairs(client: Client, serve: Serve) -> None:
    done = {"check": "network", "done": True, "message": "made"}
    serve(repairs={"repairs": [done]})
    (repair,) = client.repair().repairs
    assert repair.model_dump() == done


def test_repairs_that_are_refused(client: Client, serve: Serve) -> None:
    def refuse(_: object) -> object:
        raise Conflict("NetworkConflict", "it is not ours")

    serve(repairs=refuse)
    with pytest.raises(ApiError, match="it is not ours") as caught:
        client.repair()
    assert (caught.value.status, caught.value.reason) == (HTTPStatus.CONFLICT, "NetworkConflict")


@pytest.mark.usefixtures("store")
def test_repairs_without_a_controller(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        client.repair()
    assert (caught.value.status, caught.value.reason) == (HTTPStatus.SERVICE_UNAVAILABLE, "ControllerUnavailable")


def test_recent_logs(client: Client, serve: Serve) -> None:
    assert client.recent_logs().controller is None
    serve(log=b"2026 INFO started\n")
    assert client.recent_logs().controller == "2026 INFO started\n"
    assert client.recent_logs().server is not None


def engine(status: str) -> dict[str, Any]:
    message = "the Docker engine at tcp://secret.example.org does not answer"
    return {"check": {"name": "engine", "group": "Engine", "status": status, "message": message}}


@pytest.mark.parametrize(
    ("answer", "expected", "whole"),
    [
        (engine("OK"), "ok", "ok"),
        (engine("WARN"), "ok", "ok"),
        (engine("FAIL"), "unavailable", "degraded"),
        (engine("UNKNOWN"), "unavailable", "degraded"),
        ({"check": None}, None, "ok"),
    ],
)
def test_health_tells_of_the_engine(
    stranger: httpx.Client, serve: Serve, answer: dict[str, Any], expected: str | None, whole: str
) -> None:
    serve(engine=answer)
    response = stranger.get("/api/health")
    told = response.json()
    assert told["status"] == whole
    assert (told["engine"] or {}).get("status") == expected
    assert "example.org" not in response.text, "anybody may ask"


def test_health_of_a_controller_that_knows_nothing_of_engines(client: Client, serve: Serve) -> None:
    serve()
    assert client.health().status == "ok"
    assert client.health().engine is None
