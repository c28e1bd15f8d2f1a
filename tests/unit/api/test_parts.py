"""Repositories, inputs, events, and what the controller answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from controller.reconcile.actions import Plan
from controller.resources import EventType, InputState, Instance, Kind
from controller.runtime.choice import only
from controller.settings import Settings
from controller.store import Store
from controller.streams import StreamServer
from controller.streams.instances import InstanceStreams
from support.api_world import instance_body, repository_body


@pytest.fixture
def web(http: httpx.Client, shop: str) -> str:
    del shop
    uid: str = http.post("/api/instances", json=instance_body()).json()["metadata"]["uid"]
    return uid


def test_repositories_are_registered_changed_and_forgotten(http: httpx.Client, store: Store) -> None:
    made = http.post("/api/repositories", json=repository_body(defaults={"model": "opus"}))
    assert made.status_code == 201
    assert http.get("/api/repositories/shop").json() == made.json()
    changed = http.put("/api/repositories/shop", json=repository_body(base_branch="main"))
    assert changed.json()["changed_fields"] == ["spec.base_branch", "spec.defaults.model"]
    patched = http.patch(
        "/api/repositories/shop", json={"spec": {"base_branch": None}, "metadata": {"labels": {"a": "b"}}}
    )
    assert patched.json()["spec"]["base_branch"] is None
    assert [item["metadata"]["name"] for item in http.get("/api/repositories?selector=a=b").json()["items"]] == ["shop"]
    gone = http.delete("/api/repositories/shop")
    assert gone.status_code == 202
    assert store.repositories.get("shop").metadata.deletion_requested_at is not None
    again = http.put("/api/repositories/new", json=repository_body("new"))
    assert (again.status_code, again.json()["action"]) == (201, "created")


def test_a_repository_that_goes_takes_no_new_instances(http: httpx.Client, shop: str) -> None:
    http.delete(f"/api/repositories/shop?uid={shop}")
    refused = http.post("/api/instances", json=instance_body())
    assert (refused.status_code, refused.json()["reason"]) == (409, "BeingDeleted")


@pytest.mark.usefixtures("web")
def test_a_repository_in_use_stays_where_it_is(http: httpx.Client) -> None:
    refused = http.delete("/api/repositories/shop")
    assert (refused.status_code, refused.json()["reason"]) == (409, "RepositoryInUse")
    assert "web" in refused.json()["detail"]
    for moved in (
        http.put("/api/repositories/shop", json=repository_body(path="/elsewhere")),
        http.patch("/api/repositories/shop", json={"spec": {"path": "/elsewhere"}}),
    ):
        assert (moved.status_code, moved.json()["reason"]) == (422, "Immutable")
    assert http.delete("/api/repositories/none").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "file:///etc",
        "ext::sh -c id",
        "--upload-pack=x",
        "http://169.254.169.254/latest",
        "git@example.org:shop.git",
        "../..",
        "/srv/../../etc",
        "/srv/a\0b",
        "",
        "~root/shop",
    ],
)
def test_what_is_no_path_of_this_machine_is_no_repository(http: httpx.Client, path: str) -> None:
    refused = http.post("/api/repositories", json=repository_body(path=path))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "spec.path")
    http.post("/api/repositories", json=repository_body("good"))
    assert http.patch("/api/repositories/good", json={"spec": {"path": path}}).status_code == 422
    body = repository_body("good", path=path)
    assert http.put("/api/repositories/good", json=body).status_code == 422


def test_a_wrong_path_is_named(http: httpx.Client) -> None:
    refused = http.post("/api/repositories", json=repository_body(path="../x"))
    assert refused.json()["errors"][0]["field"] == "spec.path"
    patched = http.patch("/api/repositories/none", json={"spec": {"path": "x"}})
    assert patched.status_code == 404


def test_a_prompt_is_a_row_that_can_be_followed(http: httpx.Client, web: str, store: Store) -> None:
    text = "multi\nline \u2028 täxt " + "x" * 10_000
    made = http.post("/api/instances/web/inputs", json={"text": text})
    assert made.status_code == 201
    assert (made.json()["text"], made.json()["state"]) == (text, "Pending")
    store.inputs.set_state(made.json()["id"], InputState.REJECTED, "busy")
    shown = http.get(made.headers["location"]).json()
    assert (shown["state"], shown["reason"]) == ("Rejected", "busy")
    assert http.get("/api/instances/web/inputs").json()["items"] == [shown]
    assert http.get(f"/api/instances/other/inputs/{shown['id']}").status_code == 404
    assert store.inputs.pending(web) == []


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": "a\0b"}, {"text": "x" * 200_001}, {"text": 1}])
def test_what_is_no_prompt_is_refused(http: httpx.Client, body: dict[str, Any]) -> None:
    refused = http.post("/api/instances/web/inputs", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "text")
    assert len(refused.text) < 2000


@pytest.mark.usefixtures("web")
def test_prompts_are_sent_once_and_not_without_end(http: httpx.Client) -> None:
    key = {"Idempotency-Key": "one"}
    first, again = (http.post("/api/instances/web/inputs", json={"text": "hi"}, headers=key) for _ in range(2))
    assert first.json() == again.json()
    codes = [http.post("/api/instances/web/inputs", json={"text": "hi"}).status_code for _ in range(100)]
    assert codes == [201] * 99 + [409]


def test_events_are_told_by_object_and_together(http: httpx.Client, web: str, store: Store) -> None:
    for reason in ("A", "B", "B"):
        store.events.record(Kind.INSTANCE, "web", web, EventType.NORMAL, reason, "m")
    store.events.record(Kind.REPOSITORY, "shop", "r", EventType.WARNING, "C", "m")
    of_web = http.get("/api/instances/web/events").json()
    assert [(event["reason"], event["count"]) for event in of_web["items"]] == [("A", 1), ("B", 2)]
    assert [e["reason"] for e in http.get("/api/repositories/shop/events").json()["items"]] == ["C"]
    everything = http.get("/api/events").json()
    assert [event["reason"] for event in everything["items"]] == ["A", "B", "C"]
    assert everything["resource_version"] == store.revision()
    after = everything["items"][1]["resource_version"]
    assert [e["reason"] for e in http.get("/api/events", params={"after": after}).json()["items"]] == ["C"]
    found = http.get("/api/events", params={"kind": "Instance", "name": "web", "limit": 1}).json()
    assert [e["reason"] for e in found["items"]] == ["B"]
    assert http.get("/api/events?kind=Tree").status_code == 422
    assert http.get("/api/instances/none/events").status_code == 404


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("part", ["plan", "attach", "logs"])
def test_without_a_controller_its_answers_are_503(http: httpx.Client, part: str) -> None:
    refused = http.get(f"/api/instances/web/{part}")
    assert (refused.status_code, refused.json()["reason"]) == (503, "ControllerUnavailable")
    detail = refused.json()["detail"]
    assert "start it with 'cco up' or 'make up', or see its log ('docker compose logs controller', or" in detail
    assert "retry-after" in refused.headers
    assert http.get(f"/api/instances/none/{part}").status_code == 404


class FakeLogs:
    """Of a runtime, only what the streams ask for."""

    def logs(self, uid: str, *, tail: int) -> bytes:
        return f"{uid} {tail} \x1b[2J \xff".encode("latin-1")


@pytest.fixture
def controller(settings: Settings, store: Store) -> Iterator[None]:
    def preview(instance: Instance) -> Plan:
        del instance
        return Plan(actions=(), requeue_after=3.0)

    runtimes = only(FakeLogs())  # type: ignore[arg-type]  # see FakeLogs
    server = StreamServer(settings.controller_socket, InstanceStreams(store.instances.get, preview, runtimes).routes())
    server.start()
    yield
    server.stop()


@pytest.mark.usefixtures("controller")
def test_the_controllers_answers_are_passed_on(http: httpx.Client, web: str) -> None:
    assert http.get("/api/instances/web/plan").json() == {"actions": [], "blocked": None, "requeue_after": 3.0}
    logs = http.get("/api/instances/web/logs?tail=7")
    assert logs.headers["content-type"] == "text/plain; charset=utf-8"
    assert logs.content.startswith(f"{web} 7".encode())
    refused = http.get("/api/instances/web/attach")
    assert (refused.status_code, refused.json()["reason"]) == (409, "NotRunning")
    assert http.get("/api/health").json()["status"] == "ok"


def test_health_tells_both_parts(http: httpx.Client, store: Store) -> None:
    health = http.get("/api/health")
    assert health.status_code == 200
    assert (health.json()["status"], health.json()["api"]["status"]) == ("degraded", "ok")
    assert health.json()["controller"]["status"] == "unavailable"
    version = http.get("/api/version").json()
    assert version["installation"] == store.installation_id


def test_health_is_503_without_a_database(http: httpx.Client, settings: Settings) -> None:
    settings.database.rename(settings.database.with_name("gone"))
    health = http.get("/api/health")
    assert (health.status_code, health.json()["api"]["detail"]) == (503, "DatabaseReplaced")
    failed = http.get("/api/instances")
    assert (failed.status_code, failed.json()["reason"]) == (500, "DatabaseReplaced")
    assert "restart" in failed.json()["detail"]
