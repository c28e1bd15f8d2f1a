"""The controller's own socket, asked over real HTTP: plans, logs, attach, and problem documents for everything else."""

from __future__ import annotations

import errno
import json
import logging
import socket
import socketserver
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.errors import Conflict, Fenced, Retryable, Terminal, Unavailable
from controller.reconcile.actions import Plan
from controller.reconcile.plan import plan
from controller.resources import Instance
from controller.runtime.choice import only
from controller.runtime.protocol import Limits, WorkloadSpec
from controller.streams import Route, StreamServer, server
from controller.streams.instances import InstanceStreams
from support.deadline import eventually
from support.fake_engine import IMAGE, FakeContainer, FakeEngine
from support.fake_runtime import FakeRuntime
from support.looks import STARTED, UID, healthy_status, instance
from support.world import World

LONGEST_SECONDS = 10.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server see the stop soon."""
    monkeypatch.setattr(server, "POLL_SECONDS", 0.01)


@pytest.fixture
def path() -> Iterator[Path]:
    """A path that is short enough for a socket, whatever the test is called."""
    with tempfile.TemporaryDirectory(prefix="cco-streams-") as folder:
        yield Path(folder) / "controller.sock"


@contextmanager
def served(path: Path, streams: InstanceStreams) -> Iterator[httpx.Client]:
    """Serve what is asked about instances on the path and give a client."""
    with served_routes(path, streams.routes()) as made:
        yield made


@contextmanager
def served_routes(
    path: Path, routes: Sequence[Route], fence: Callable[[], None] = lambda: None
) -> Iterator[httpx.Client]:
    """Serve on the path and give a client."""
    serving = StreamServer(path, routes, fence)
    serving.start()
    transport = httpx.HTTPTransport(uds=str(path))
    try:
        with httpx.Client(transport=transport, base_url="http://controller", timeout=LONGEST_SECONDS) as made:
            yield made
    finally:
        serving.stop()


# One instance, whose container has printed something --------------------------------------------------------------


def get(name: str) -> Instance:
    """Know one instance by whatever name."""
    session = {"state": "idle", "since": STARTED}
    made = instance(status=healthy_status(session=session))
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"name": name})})


@pytest.fixture
def container() -> FakeContainer:
    engine = FakeEngine()
    runtime = FakeRuntime(engine)
    runtime.create(WorkloadSpec("web", UID, 1, IMAGE, "hash", Limits(1.0, 2**30, 64), (), (1000, 1000), "/work"))
    runtime.start(UID, 1)
    (made,) = engine.containers.values()
    return made


def streams(container: FakeContainer, preview: Callable[[Instance], Plan] = lambda _: Plan()) -> InstanceStreams:
    engine = FakeEngine()
    engine.containers[container.seen.name] = container
    return InstanceStreams(get, preview, only(FakeRuntime(engine)))


@pytest.fixture
def client(path: Path, container: FakeContainer) -> Iterator[httpx.Client]:
    with served(path, streams(container)) as made:
        yield made


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


def problem(response: httpx.Response) -> tuple[int, str, str]:
    """Return status, reason and detail, having checked that it is a problem document as RFC 9457 has it."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "title", "status", "detail", "reason"}
    assert body["status"] == response.status_code
    assert body["title"]
    return response.status_code, body["reason"], body["detail"]


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


def ask(path: Path) -> int:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=LONGEST_SECONDS) as client:
        return client.get("http://controller/instances/web/plan").status_code


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


# The server -----------------------------------------------------------------------------------------------------


def test_only_its_owner_may_connect_and_nothing_stays(path: Path, container: FakeContainer) -> None:
    path.write_text("what a crashed controller left")
    serving = StreamServer(path, streams(container).routes())
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    serving.start()
    assert ask(path) == 200
    serving.stop()
    assert not path.exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "streams"]


def test_a_server_that_never_began_can_be_stopped(path: Path, container: FakeContainer) -> None:
    serving = StreamServer(path, streams(container).routes())
    path.unlink()
    serving.stop()


def test_one_who_does_not_wait_for_the_answer_is_no_error(
    path: Path, container: FakeContainer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    asked, gone = threading.Event(), threading.Event()

    def slow(instance: Instance) -> Plan:
        del instance
        asked.set()
        gone.wait(LONGEST_SECONDS)
        return Plan()

    caplog.set_level(logging.DEBUG, logger="controller.streams")
    with served(path, streams(container, slow)) as client:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /instances/web/plan HTTP/1.1\r\n\r\n")
            assert asked.wait(LONGEST_SECONDS)
        gone.set()
        eventually(
            lambda: "stream connection broke" in caplog.text, timeout=LONGEST_SECONDS, what="the end", pause=0.005
        )
        assert client.get("/health").status_code == 200
    assert "Traceback" not in capfd.readouterr().err
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_request_is_a_line_of_the_log_for_those_who_want_details(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG, logger="controller.streams"):
        client.get("/health")
    assert "GET /health" in caplog.text
    assert capfd.readouterr().err == ""


def test_who_knocks_while_no_file_can_be_opened_is_let_in_later_and_nothing_spins(
    path: Path, container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[float] = []

    def full(_: object) -> None:
        refused.append(0.0)
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(server, "FULL_SECONDS", 0.05)
    with served(path, streams(container)) as client, monkeypatch.context() as patched:
        patched.setattr(socketserver.TCPServer, "get_request", full)
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(client.get("/health").status_code))
        asking.start()
        eventually(lambda: len(refused) >= 2, timeout=LONGEST_SECONDS, what="it was refused twice")
        assert len(refused) < 100
        patched.undo()
        asking.join(LONGEST_SECONDS)
    assert answers == [200]
