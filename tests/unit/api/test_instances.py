from __future__ import annotations

from typing import Any

import httpx
import pytest

from controller.resources import InstanceStatus
from controller.store import Store
from support.api_world import instance_body, repository_body

pytestmark = pytest.mark.usefixtures("shop")


def with_fields(spec: dict[str, Any]) -> dict[str, Any]:
    return instance_body(**spec)


def errors(response: httpx.Response) -> dict[str, str]:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code
    return {error["field"]: error["message"] for error in response.json()["errors"]}


def test_a_created_instance_is_what_is_shown(http: httpx.Client) -> None:
    made = http.post("/api/instances", json=instance_body(labels={"team": "web"}))
    assert made.status_code == 201
    assert made.headers["location"] == "/api/instances/web"
    body = made.json()
    assert body["display"] == {"state": "STARTING", "reason": "Pending"}
    assert body["spec"]["resources"]["memory"] == "2Gi"
    shown = http.get("/api/instances/web")
    assert shown.json() == body
    assert shown.headers["etag"] == f'"{body["metadata"]["resource_version"]}"'


def test_repository_defaults_fill_what_is_left_out(http: httpx.Client) -> None:
    http.patch("/api/repositories/shop", json={"spec": {"defaults": {"model": "opus", "resources": {"memory": "3Gi"}}}})
    made = http.post("/api/instances", json=instance_body()).json()
    assert (made["spec"]["model"], made["spec"]["resources"]["memory"]) == ("opus", "3Gi")
    own = http.post("/api/instances", json=instance_body("own", model="sonnet")).json()
    assert own["spec"]["model"] == "sonnet"
    patched = http.patch("/api/instances/own", json={"spec": {"model": None}}).json()
    assert patched["spec"]["model"] == "opus"


def test_an_unknown_repository_names_the_known_and_the_nearest(http: httpx.Client) -> None:
    refused = http.post("/api/instances", json=instance_body(repository="shpo"))
    assert refused.status_code == 422
    assert refused.json()["reason"] == "RepositoryNotFound"
    message = errors(refused)["spec.repository"]
    assert "did you mean 'shop'?" in message
    assert "cco init" in message


def test_bad_values_are_all_named_with_the_way_out(http: httpx.Client) -> None:
    body = instance_body("Not A Name", resources={"memory": "lots"}, wings=2, env={"LD_PRELOAD": "secret"})
    refused = http.post("/api/instances", json=body)
    assert refused.status_code == 422
    found = errors(refused)
    assert set(found) == {"metadata.name", "spec.resources.memory", "spec.wings", "spec.env"}
    assert "for example 'fix-login'" in found["metadata.name"]
    assert "'512Mi'" in found["spec.resources.memory"]
    assert "secret" not in refused.text
    assert all(field in refused.json()["detail"] for field in found)


@pytest.mark.parametrize("field", ["status", "uid", "owner"])
def test_what_is_not_the_users_cannot_be_given(http: httpx.Client, field: str) -> None:
    refused = http.post("/api/instances", json={**instance_body(), field: {}})
    assert (refused.status_code, set(errors(refused))) == (422, {field})
    body = instance_body()
    body["metadata"][field] = "x"
    assert http.post("/api/instances", json=body).status_code == 422


@pytest.mark.parametrize(
    "spec",
    [
        {"hostConfig": {"privileged": True}},
        {"privileged": True},
        {"mounts": ["/:/host"]},
        {"status": {"attempt": 7}},
        {"resources": {"cpus": 1, "devices": ["/dev/kmsg"]}},
        {"resources": {"cpus": 10**9}},
        {"resources": {"cpus": "nan"}},
        {"resources": {"memory": 10**30}},
        {"resources": {"pids": 10**9}},
        {"resources": {"disk": -1}},
        {"restart_generation": -1},
        {"env": {"LD_PRELOAD": "/srv/x.so"}},
        {"env": {"GIT_DIR": "/"}},
        {"branch": "--upload-pack=x"},
        {"branch": "../../etc"},
        {"base_branch": "-x"},
        {"image": "--privileged"},
        {"args": ["--dangerously-skip-permissions"]},
        {"runtime": "../x"},
    ],
    ids=str,
)
def test_what_would_lead_out_of_the_box_cannot_be_declared(http: httpx.Client, spec: dict[str, Any]) -> None:
    assert http.post("/api/instances", json=instance_body()).status_code == 201
    before = http.get("/api/instances/web").json()
    assert http.post("/api/instances", json=instance_body("other", **spec)).status_code == 422
    assert http.put("/api/instances/web", json=instance_body(**spec)).status_code == 422
    assert http.patch("/api/instances/web", json={"spec": spec}).status_code == 422
    assert http.get("/api/instances/web").json() == before


def test_a_layout_that_no_agent_has_is_refused_when_it_is_declared(http: httpx.Client, store: Store) -> None:
    known = "'nope' is not known; the layouts are: claude, default"
    refused = http.post("/api/instances", json=instance_body(layout="nope"))
    assert (refused.status_code, errors(refused)) == (422, {"spec.layout": known})
    assert http.post("/api/instances", json=instance_body(layout="claude")).status_code == 201
    refused = http.put("/api/instances/web", json=instance_body(layout="nope"))
    assert errors(refused) == {"spec.layout": known}
    refused = http.patch("/api/instances/web", json={"spec": {"layout": "nope"}})
    assert errors(refused) == {"spec.layout": known}
    http.patch("/api/repositories/shop", json={"spec": {"defaults": {"layout": "nope"}}})
    refused = http.post("/api/instances", json=instance_body("own"))
    assert errors(refused) == {"spec.layout": f"{known}. It is the default of repository 'shop'"}
    # One that an older version stored can still be stopped, and mended.
    spec = store.instances.get("web").spec
    store.instances.update_spec("web", spec.model_copy(update={"layout": "nope"}))
    assert http.patch("/api/instances/web", json={"spec": {"operating_mode": "Stopped"}}).status_code == 200
    assert http.patch("/api/instances/web", json={"spec": {"layout": "default"}}).status_code == 200


def test_names_and_branches_are_taken_once(http: httpx.Client) -> None:
    http.post("/api/instances", json=instance_body())
    again = http.post("/api/instances", json=instance_body(branch="other"))
    assert (again.status_code, again.json()["reason"]) == (409, "AlreadyExists")
    same = http.post("/api/instances", json=instance_body("second", branch="web"))
    assert (same.status_code, same.json()["reason"]) == (409, "BranchInUse")
    assert "'web'" in same.json()["detail"]


def test_the_limit_names_the_setting(http: httpx.Client) -> None:
    for number in range(5):
        assert http.post("/api/instances", json=instance_body(f"i{number}")).status_code == 201
    for refused in (
        http.post("/api/instances", json=instance_body("more")),
        http.put("/api/instances/more", json=instance_body("more")),
    ):
        assert (refused.status_code, refused.json()["reason"]) == (409, "TooManyInstances")
        assert "CCO_MAX_INSTANCES" in refused.json()["detail"]
    http.delete("/api/instances/i0")
    assert http.post("/api/instances", json=instance_body("more")).status_code == 201


def test_put_creates_configures_and_leaves_alone(http: httpx.Client) -> None:
    created = http.put("/api/instances/web", json=instance_body())
    assert (created.status_code, created.json()["action"]) == (201, "created")
    unchanged = http.put("/api/instances/web", json=instance_body())
    assert (unchanged.status_code, unchanged.json()["action"]) == (200, "unchanged")
    changed = http.put("/api/instances/web", json=instance_body(resources={"cpus": 2}))
    assert changed.json()["changed_fields"] == ["spec.resources.cpus"]
    assert changed.json()["object"]["metadata"]["generation"] == 2
    assert changed.json()["object"]["display"]["state"] == "STARTING"


def test_put_keeps_what_people_switch_by_command(http: httpx.Client) -> None:
    http.put("/api/instances/web", json=instance_body())
    http.patch("/api/instances/web", json={"spec": {"operating_mode": "Suspended", "restart_generation": 2}})
    assert http.put("/api/instances/web", json=instance_body()).json()["action"] == "unchanged"
    named = http.put("/api/instances/web", json=instance_body(operating_mode="Running")).json()
    assert named["changed_fields"] == ["spec.operating_mode"]


def test_the_name_in_path_and_body_agree(http: httpx.Client) -> None:
    refused = http.put("/api/instances/other", json=instance_body())
    assert set(errors(refused)) == {"metadata.name"}


def test_dry_runs_answer_and_write_nothing(http: httpx.Client, store: Store) -> None:
    before = store.revision()
    assert http.post("/api/instances?dry_run=true", json=instance_body()).status_code == 200
    assert http.put("/api/instances/web?dry_run=true", json=instance_body()).json()["action"] == "created"
    assert store.revision() == before
    http.post("/api/instances", json=instance_body())
    before = store.revision()
    dry = http.put("/api/instances/web?dry_run=true", json=instance_body(prompt="x"))
    assert dry.json()["changed_fields"] == ["spec.prompt"]
    assert http.patch("/api/instances/web?dry_run=true", json={"spec": {"prompt": "x"}}).json()["spec"]["prompt"] == "x"
    assert http.delete("/api/instances/web?dry_run=true").status_code == 202
    assert http.post("/api/instances?dry_run=true", json=instance_body()).status_code == 409
    assert store.revision() == before
    assert http.get("/api/instances/web").json()["metadata"]["deletion_requested_at"] is None


def test_patch_is_a_merge_patch_of_spec_and_labels(http: httpx.Client) -> None:
    http.post("/api/instances", json=instance_body(labels={"a": "1", "b": "2"}, env={"X": "1", "Y": "2"}))
    patch = {"metadata": {"labels": {"a": None, "c": "3"}}, "spec": {"env": {"X": None}, "resources": {"cpus": 2}}}
    changed = http.patch("/api/instances/web", json=patch)
    assert changed.status_code == 200
    assert changed.json()["metadata"]["labels"] == {"b": "2", "c": "3"}
    assert changed.json()["spec"]["env"] == {"Y": "2"}
    assert changed.json()["spec"]["resources"] == {"cpus": 2.0, "memory": "2Gi", "pids": 512, "disk": "20Gi"}


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"spec": {"resources": {"pids": 1}}}, "spec.resources.pids"),
        ({"spec": {"wings": 1}}, "spec.wings"),
        ({"spec": {"repository": None}}, "spec.repository"),
        ({"metadata": {"labels": {"a": "ü"}}}, "metadata.labels"),
        ({"metadata": {"name": "other"}}, "metadata.name"),
        ({"status": {}}, "status"),
        ({"spec": {"prompt": "a\0b"}}, "spec.prompt"),
        ({"spec": {"restart_generation": -1}}, "spec.restart_generation"),
    ],
)
def test_a_wrong_patch_names_its_field(http: httpx.Client, patch: dict[str, Any], field: str) -> None:
    http.post("/api/instances", json=instance_body())
    refused = http.patch("/api/instances/web", json=patch)
    assert (refused.status_code, set(errors(refused))) == (422, {field})


@pytest.mark.parametrize(
    ("field", "value"), [("repository", "other"), ("branch", "other"), ("base_branch", "other"), ("base_branch", None)]
)
def test_what_an_instance_was_made_from_stays(http: httpx.Client, field: str, value: str | None) -> None:
    http.post("/api/repositories", json=repository_body("other"))
    http.post("/api/instances", json=instance_body(base_branch="dev"))
    for refused in (
        http.patch("/api/instances/web", json={"spec": {field: value}}),
        http.put("/api/instances/web", json=with_fields({"base_branch": "dev", field: value})),
    ):
        assert (refused.status_code, refused.json()["reason"]) == (422, "Immutable")
        assert "make another instance" in errors(refused)[f"spec.{field}"]
    assert http.patch("/api/instances/web", json={"spec": {"branch": "web"}}).status_code == 200


def test_restarts_are_asked_for_by_counting_up(http: httpx.Client) -> None:
    http.post("/api/instances", json=instance_body())
    assert http.patch("/api/instances/web", json={"spec": {"restart_generation": 3}}).status_code == 200
    refused = http.patch("/api/instances/web", json={"spec": {"restart_generation": 2}})
    assert "only grows" in errors(refused)["spec.restart_generation"]


def test_a_stale_change_is_refused_however_the_version_is_given(http: httpx.Client, store: Store) -> None:
    made = http.post("/api/instances", json=instance_body()).json()
    version = made["metadata"]["resource_version"]
    store.instances.update_status(made["metadata"]["uid"], InstanceStatus(attempt=1))
    body = instance_body(prompt="x")
    with_version = {**body, "metadata": {**body["metadata"], "resource_version": version}}
    match = {"If-Match": f'"{version}"'}
    for stale in (
        http.put("/api/instances/web", json=with_version),
        http.put("/api/instances/web", json=body, headers=match),
        http.patch("/api/instances/web", json={"spec": {"prompt": "x"}}, headers=match),
        http.patch("/api/instances/web", json={"metadata": {"resource_version": version}, "spec": {"prompt": "x"}}),
    ):
        assert (stale.status_code, stale.json()["reason"]) == (409, "StaleWrite")
        assert "read it again" in stale.json()["detail"]
    match = {"If-Match": http.get("/api/instances/web").headers["etag"]}
    assert http.put("/api/instances/web", json=body, headers=match).status_code == 200
    assert http.patch("/api/instances/web", json={}, headers={"If-Match": "new"}).status_code == 422


def test_work_is_given_up_by_name_only(http: httpx.Client, store: Store) -> None:
    http.post("/api/instances", json=instance_body())
    refused = http.delete("/api/instances/web?discard_work=true")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "discard_work")
    assert store.instances.get("web").metadata.deletion_requested_at is None
    http.delete("/api/instances/web")
    given_up = http.delete("/api/instances/web?discard_work=web").json()
    assert given_up["metadata"]["discard_work"] is True
    assert http.delete("/api/instances/web").json()["metadata"] == given_up["metadata"], (
        "asking again takes nothing back"
    )


def test_what_carries_an_instance_is_chosen_once(http: httpx.Client) -> None:
    http.post("/api/instances", json=instance_body())
    assert http.patch("/api/instances/web", json={"spec": {"runtime": "process"}}).status_code == 200
    refused = http.patch("/api/instances/web", json={"spec": {"runtime": "docker"}})
    assert (refused.status_code, refused.json()["reason"]) == (422, "Immutable")
    assert http.put("/api/instances/web", json=instance_body()).status_code == 200, "what is left out stays"


def test_delete_asks_and_shows(http: httpx.Client) -> None:
    made = http.post("/api/instances", json=instance_body()).json()
    uid = made["metadata"]["uid"]
    wrong = http.delete("/api/instances/web?uid=another")
    assert (wrong.status_code, wrong.json()["reason"]) == (409, "UidMismatch")
    gone = http.delete(f"/api/instances/web?uid={uid}")
    assert (gone.status_code, gone.json()["display"]["state"]) == (202, "DELETING")
    assert http.delete("/api/instances/web").json()["metadata"] == gone.json()["metadata"]
    for refused in (
        http.patch("/api/instances/web", json={"spec": {"prompt": "x"}}),
        http.put("/api/instances/web", json=instance_body(prompt="x")),
        http.post("/api/instances/web/inputs", json={"text": "hello"}),
    ):
        assert (refused.status_code, refused.json()["reason"]) == (409, "BeingDeleted")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_what_is_not_there_is_404(http: httpx.Client, method: str) -> None:
    missing = http.request(method, "/api/instances/nobody", json={} if method == "PATCH" else None)
    assert (missing.status_code, missing.json()["reason"]) == (404, "InstanceNotFound")


def test_a_repeated_post_with_its_key_is_one_instance(http: httpx.Client, store: Store) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = http.post("/api/instances", json=instance_body(), headers=key)
    again = http.post("/api/instances", json=instance_body(), headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert store.instances.count() == 1
    other = http.post("/api/instances", json=instance_body("other"), headers=key)
    assert (other.status_code, other.json()["reason"]) == (422, "IdempotencyKeyReused")
    store.instances.request_deletion("web")
    store.instances.purge(first.json()["metadata"]["uid"])
    late = http.post("/api/instances", json=instance_body(), headers=key)
    assert (late.status_code, late.json()["reason"]) == (409, "IdempotencyKeyUsed")


def test_lists_are_paged_with_one_version(http: httpx.Client) -> None:
    for name in "edcba":
        http.post("/api/instances", json=instance_body(name, labels={"team": "x" if name in "ace" else "y"}))
    names: list[str] = []
    versions = set()
    token: str | None = ""
    while token is not None:
        page = http.get("/api/instances", params={"limit": 2, **({"continue": token} if token else {})}).json()
        names += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["resource_version"])
        token = page["continue"]
        http.patch("/api/instances/a", json={"spec": {"prompt": str(len(names))}})
    assert names == list("abcde")
    assert len(versions) == 1
    found = http.get("/api/instances", params={"selector": "team!=y", "repository": "shop"}).json()["items"]
    assert [item["metadata"]["name"] for item in found] == list("ace")
    assert http.get("/api/instances", params={"repository": "none"}).json()["items"] == []
    assert http.get("/api/instances", params={"limit": 10**9}).status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"continue": "nonsense"}, "continue"),
        ({"continue": "W10="}, "continue"),
        ({"selector": "a in (b)"}, "selector"),
    ],
)
def test_wrong_queries_name_the_parameter(http: httpx.Client, query: dict[str, str], field: str) -> None:
    refused = http.get("/api/instances", params=query)
    assert (refused.status_code, set(errors(refused))) == (422, {field})
