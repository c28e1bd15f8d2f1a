"""The controller's own socket, asked over real HTTP: plans, logs, attach, and problem documents for everything else."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from controller.errors import Conflict, Fenced, Retryable, Terminal, Unavailable
from controller.reconcile.actions import Plan
from controller.reconcile.plan import plan
from controller.resources import Instance
from controller.runtime.choice import only
from controller.streams import Route
from controller.streams.instances import InstanceStreams
from support.fake_engine import FakeContainer
from support.fake_runtime import FakeRuntime
from support.served_streams import (
    LONGEST_SECONDS,
    ask,
    client,
    container,
    impatient,
    path,
    problem,
    served,
    served_routes,
    streams,
)
from support.world import World

__all__ = ["client", "container", "impatient", "path"]


# A whole installation ---------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.ready()
    yield made
    made.close()


@pytest.fixture
def controller(world: World, path: Path) -> Iterator[httpx.Client]:
    """A client of the streams of a controller of the world, put together as ``controller.application`` does."""

    def preview(instance: Instance) -> Plan:
        reconciler = world.reconciler()
        seen, observed, wanted = reconciler.observe(instance)
        return plan(seen, observed, wanted, reconciler.pace, now=world.now)

    with served(path, InstanceStreams(world.store.instances.get, preview, only(FakeRuntime(world.engine)))) as made:
        yield made


# Answers --------------------------------------------------------------------------------------------------------


def test_health(client: httpx.Client) -> None:
    response = client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["content-type"] == "application/json"


def test_the_plan_of_a_satisfied_instance_is_empty_and_nothing_is_done(controller: httpx.Client, world: World) -> None:
    changes = list(world.engine.changes)
    body = controller.get("/instances/web/plan").json()
    assert body == {"actions": [], "blocked": None, "requeue_after": None}
    assert world.engine.changes == changes


def test_the_plan_names_each_action_and_why(controller: httpx.Client, world: World) -> None:
    world.engine.images["other:1"] = "sha256:" + "2" * 64
    world.change(image="other:1")
    changes, revision = list(world.engine.changes), world.store.revision()
    body = controller.get("/instances/web/plan").json()
    assert [action["action"] for action in body["actions"]] == ["StopWorkload", "RemoveWorkload", "CreateWorkload"]
    assert {action["reason"] for action in body["actions"]} == {"the spec changed"}
    assert (world.engine.changes, world.store.revision()) == (changes, revision), "a preview changes nothing"


def test_the_plan_says_what_it_waits_for(controller: httpx.Client, world: World) -> None:
    world.engine.remove_by_hand(world.get().metadata.uid)
    world.credentials = False
    body = controller.get("/instances/web/plan").json()
    assert body["blocked"]["reason"] == "CredentialsMissing"
    assert "ANTHROPIC_API_KEY" in body["blocked"]["message"]
    assert body["requeue_after"] == 10.0


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("", 200),
        ("?tail=3", 3),
        ("?tail=0", 1),
        ("?tail=-5", 200),
        ("?tail=many", 200),
        ("?tail=", 200),
        ("?tail=1&tail=2", 1),
        ("?tail=999999999", 300),
        ("?tail=" + "9" * 5000, 200),
        ("?tail=²", 200),
        ("?else=1", 200),
    ],
)
def test_logs_are_the_last_lines_however_the_tail_is_asked_for(
    query: str, lines: int, client: httpx.Client, container: FakeContainer
) -> None:
    container.logs[:] = [b"line %d\n" % number for number in range(300)]
    response = client.get(f"/instances/web/logs{query}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.content == b"".join(container.logs[-lines:])


def test_logs_may_be_any_bytes(client: httpx.Client, container: FakeContainer) -> None:
    container.logs[:] = [bytes(range(256)) * 4096]
    assert client.get("/instances/web/logs").content == container.logs[0]


@pytest.mark.parametrize(
    ("query", "read_only"),
    [("", False), ("?read_only=0", False), ("?read_only=1", True), ("?read_only=true", True), ("?read_only=x", False)],
)
def test_attach_is_a_command_for_this_machine(query: str, read_only: bool, client: httpx.Client) -> None:  # noqa: FBT001  # a column
    argv = client.get(f"/instances/web/attach{query}").json()["argv"]
    flags = ["-r"] if read_only else []
    assert argv == [
        *("docker", "exec", "-it", "cco-web-1"),
        *("tmux", "-u", "attach-session", *flags, "-t", "=cc-orchestrator-web"),
    ]


def test_many_ask_at_once(path: Path, container: FakeContainer) -> None:
    together = threading.Barrier(5, timeout=LONGEST_SECONDS)

    def waits_for_the_others(instance: Instance) -> Plan:
        del instance
        together.wait()
        return Plan()

    found: list[int] = []
    with served(path, streams(container, waits_for_the_others)):
        askers = [threading.Thread(target=lambda: found.append(ask(path)), daemon=True) for _ in range(5)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(LONGEST_SECONDS)
    assert found == [200] * 5


# Problems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        *("/", "/instances", "/instances/web", "/instances/web/exec", "/instances/web/plan/", "/instances/WEB/plan"),
        *("/instances/../plan", "/instances/%77eb/plan", f"/instances/{'x' * 41}/plan", "/health/", "/?x=/health"),
    ],
)
def test_an_unknown_path_is_not_found(target: str, client: httpx.Client) -> None:
    status, reason, detail = problem(client.get(f"http://controller{target}"))
    assert (status, reason) == (404, "NotFound")
    assert "no such path" in detail


@pytest.mark.parametrize("what", ["plan", "logs", "attach"])
def test_an_unknown_instance_is_not_found(what: str, controller: httpx.Client) -> None:
    status, reason, detail = problem(controller.get(f"/instances/nobody/{what}"))
    assert (status, reason) == (404, "InstanceNotFound")
    assert "nobody" in detail


@pytest.mark.parametrize("what", ["plan", "logs", "attach"])
def test_an_engine_that_does_not_answer_is_unavailable(what: str, controller: httpx.Client, world: World) -> None:
    world.engine.go_away()
    assert problem(controller.get(f"/instances/web/{what}"))[:2] == (503, "RuntimeUnavailable")


def test_nothing_can_be_attached_to_without_a_session(controller: httpx.Client, world: World) -> None:
    world.change(operating_mode="Suspended")
    world.settle()
    status, reason, detail = problem(controller.get("/instances/web/attach"))
    assert (status, reason) == (409, "NotRunning")
    assert "cco why web" in detail


ERRORS: dict[str, tuple[Exception, int, str]] = {
    "cannot look": (Unavailable("GitUnavailable", "no answer"), 503, "GitUnavailable"),
    "cannot now": (Retryable("Busy", "in use"), 409, "Busy"),
    "cannot at all": (Terminal("Broken", "mend it"), 409, "Broken"),
    "must not": (Conflict("NameConflict", "not ours"), 409, "NameConflict"),
    "has a bug": (ZeroDivisionError("secret inside"), 500, "InternalError"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_preview_that(name: str, path: Path, container: FakeContainer, caplog: pytest.LogCaptureFixture) -> None:
    error, status, reason = ERRORS[name]

    def fails(instance: Instance) -> Plan:
        del instance
        raise error

    with served(path, streams(container, fails)) as client:
        found = problem(client.get("/instances/web/plan"))
        assert found[:2] == (status, reason)
        assert "secret" not in found[2]
        assert client.get("/health").status_code == 200
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR] * (status == 500)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "BREW"])
def test_other_methods_do_not_exist(method: str, client: httpx.Client) -> None:
    status, reason, _ = problem(client.request(method, "/health"))
    assert (status, reason) == (501, "NotImplemented")


def test_what_only_looks_cannot_be_posted_to(client: httpx.Client) -> None:
    status, reason, detail = problem(client.post("/instances/web/plan"))
    assert (status, reason) == (405, "MethodNotAllowed")
    assert "only GET" in detail


def test_one_who_was_replaced_still_looks_and_does_not_act(path: Path) -> None:
    def fence() -> None:
        raise Fenced("Fenced", "another controller has taken over")

    acted: list[str] = []
    routes = [Route("GET", "/look", lambda _: "seen"), Route("POST", "/act", lambda _: acted.append("done"))]
    with served_routes(path, routes, fence) as client:
        assert client.get("/look").json() == "seen"
        assert problem(client.post("/act"))[:2] == (409, "Fenced")
    assert acted == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, "BadRequest")),
        (b"[1]", (400, "BadRequest")),
        (b" " * 2**20 + b"{}", (413, "RequestEntityTooLarge")),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, expected: tuple[int, str], path: Path) -> None:
    with served_routes(path, [Route("POST", "/say", lambda request: dict(request.body))]) as client:
        assert client.post("/say", json={"word": "yes"}).json() == {"word": "yes"}
        assert client.post("/say").json() == {}
        assert problem(client.post("/say", content=body))[:2] == expected


def test_what_is_no_http_is_refused(client: httpx.Client, path: Path) -> None:
    del client
    answer = talk(path, b"hello, who is there?\r\n\r\n")
    body = json.loads(answer[answer.index(b"{") :])
    assert (body["status"], body["reason"]) == (400, "BadRequest")


def talk(path: Path, sent: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LONGEST_SECONDS)
        connection.connect(str(path))
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))
