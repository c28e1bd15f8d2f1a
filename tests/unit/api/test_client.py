from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from api import client as client_module
from api.client import ApiError, Applied, Client, Plan, ServerUnavailable
from api.watching import Message, parse_stream
from controller.errors import Terminal
from controller.resources import EventType, Instance, Kind, OperatingMode, Repository
from controller.settings import Settings
from controller.store import Store
from support.api_world import instance_manifest, repository_manifest

TOKEN = "test-token-" + "t" * 32


def test_the_client_needs_nothing_of_the_server() -> None:
    script = (
        "import sys, api.client; found = {'fastapi', 'starlette', 'uvicorn', 'sqlalchemy', 'alembic', 'docker', 'git'}"
        " & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_public_surface_stays() -> None:
    assert sorted(client_module.__all__) == [
        "ApiError",
        "Applied",
        "Client",
        "ClientError",
        "FieldError",
        "Health",
        "PartHealth",
        "Plan",
        "PlannedAction",
        "Resync",
        "ServerUnavailable",
        "Version",
        "WatchEvent",
        "WatchKind",
    ]


def test_resources_come_back_as_they_are_stored(client: Client, store: Store) -> None:
    shop = client.create_repository(repository_manifest())
    assert isinstance(shop, Repository)
    assert shop == store.repositories.get("shop") == client.get_repository("shop")
    web = client.create_instance(instance_manifest(labels={"a": "b"}, prompt="\u2028 täxt"))
    assert isinstance(web, Instance)
    assert web == store.instances.get("web") == client.get_instance("web")
    assert client.list_instances(selector="a=b", repository="shop") == [web]
    assert client.list_instances(selector="a=c") == []
    assert client.list_repositories() == [shop]


def test_apply_patch_and_delete(client: Client, store: Store) -> None:
    assert client.apply_repository(repository_manifest()).action == "created"
    dry = client.apply_instance(instance_manifest(), dry_run=True)
    assert isinstance(dry, Applied)
    assert (dry.action, store.instances.names()) == ("created", [])
    made = client.apply_instance(instance_manifest()).object
    changed = client.apply_instance(instance_manifest(prompt="x"), resource_version=made.metadata.resource_version)
    assert (changed.action, changed.changed_fields) == ("configured", ("spec.prompt",))
    with pytest.raises(ApiError) as stale:
        client.apply_instance(instance_manifest(), resource_version=made.metadata.resource_version)
    assert (stale.value.status, stale.value.reason) == (409, "StaleWrite")
    stopped = client.patch_instance("web", {"spec": {"operating_mode": "Stopped"}})
    assert stopped.spec.operating_mode is OperatingMode.STOPPED
    with pytest.raises(ApiError):
        client.patch_instance("web", {"spec": {"prompt": "y"}}, resource_version=1)
    assert client.patch_repository("shop", {"metadata": {"labels": {"a": "b"}}}).metadata.labels == {"a": "b"}
    gone = client.delete_instance("web", uid=made.metadata.uid)
    assert gone.metadata.deletion_requested_at is not None
    store.instances.purge(made.metadata.uid)
    assert client.delete_repository("shop").metadata.deletion_requested_at is not None


def test_prompts_and_events(client: Client, store: Store) -> None:
    client.create_repository(repository_manifest())
    uid = client.create_instance(instance_manifest()).metadata.uid
    text = "line\n" * 2000
    sent = client.create_input("web", text)
    assert sent.text == text
    assert client.get_input("web", sent.id) == sent
    assert client.list_inputs("web") == [sent]
    store.events.record(Kind.INSTANCE, "web", uid, EventType.WARNING, "Reason", "message")
    (event,) = client.instance_events("web")
    assert client.events(kind=Kind.INSTANCE, name="web", limit=5) == [event]
    assert client.events(after=event.resource_version) == []
    assert client.repository_events("shop") == []


def test_every_page_of_a_list_is_read(client: Client, store: Store) -> None:
    with store.transaction():
        for number in range(1203):
            store.repositories.create(repository_manifest(f"r{number:04}"))
    assert [r.metadata.name for r in client.list_repositories()] == [f"r{n:04}" for n in range(1203)]


def test_health_version_and_what_only_the_controller_tells(client: Client, store: Store) -> None:
    client.create_repository(repository_manifest())
    client.create_instance(instance_manifest())
    assert client.health().status == "degraded"
    assert client.version().resource_version == store.revision()
    for ask in (client.instance_plan, client.instance_attach, client.instance_logs):
        with pytest.raises(ApiError) as refused:
            ask("web")
        assert (refused.value.status, refused.value.reason) == (503, "ControllerUnavailable")


def test_an_error_reads_well_as_it_is(client: Client) -> None:
    with pytest.raises(ApiError) as missing:
        client.get_instance("no body ü")
    assert str(missing.value) == "instance 'no body ü' does not exist"
    manifest = instance_manifest().model_copy(update={"spec": instance_manifest(repository="x").spec})
    with pytest.raises(ApiError, match="'cco init'") as refused:
        client.create_instance(manifest)
    assert refused.value.fields[0].field == "spec.repository"


def answering(*answers: Callable[[httpx.Request], httpx.Response]) -> tuple[Client, list[httpx.Request]]:
    """A client whose n-th request gets the n-th answer."""
    seen: list[httpx.Request] = []
    queue = list(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return queue.pop(0)(request)

    return Client("http://host:1", TOKEN, transport=httpx.MockTransport(handle)), seen


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def slow(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow", request=request)


def version(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"version": "1", "installation": "i", "resource_version": 7})


def test_reading_is_repeated_a_bounded_number_of_times() -> None:
    client, seen = answering(broken, unreachable, version)
    assert client.version().resource_version == 7
    assert len(seen) == 3
    client, seen = answering(broken, broken, broken, version)
    with pytest.raises(ServerUnavailable, match="broke"):
        client.version()
    assert len(seen) == 3


def test_one_that_was_closed_meanwhile_says_so_at_once() -> None:
    client, seen = answering(version)
    client.close()
    with pytest.raises(ServerUnavailable, match="was closed"):
        client.version()
    assert not seen


def test_what_may_have_had_an_effect_is_not_repeated() -> None:
    client, seen = answering(broken, version)
    with pytest.raises(ServerUnavailable):
        client.patch_instance("web", {"spec": {"restart_generation": 1}})
    assert len(seen) == 1
    client, seen = answering(broken, version)
    with pytest.raises(ServerUnavailable):
        client.apply_instance(instance_manifest(), resource_version=3)
    assert len(seen) == 1
    client, seen = answering(slow, version)
    with pytest.raises(ServerUnavailable, match="in time"):
        client.version()
    assert len(seen) == 1


def test_a_create_is_repeated_under_one_key() -> None:
    def made(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        metadata = {**body["metadata"], "uid": "u", "created_at": "2026-11-20T00:00:00Z"}
        return httpx.Response(201, json={"metadata": metadata, "spec": body["spec"]})

    client, seen = answering(broken, made)
    assert client.create_instance(instance_manifest()).metadata.uid == "u"
    keys = {request.headers["idempotency-key"] for request in seen}
    assert (len(seen), len(keys)) == (2, 1)


@pytest.mark.parametrize("part", ["..", ".", ""])
def test_what_would_lead_to_another_resource_is_not_asked(part: str) -> None:
    client, asked = answering()
    calls: tuple[Callable[[], object], ...] = (
        lambda: client.get_input("web", part),
        lambda: client.delete_instance(part),
        lambda: client.get_snapshot("shop", part),
    )
    for call in calls:
        with pytest.raises(ApiError) as caught:
            call()
        assert (caught.value.status, caught.value.reason) == (404, "NotFound")
        assert repr(part) in caught.value.detail
    assert asked == []


def test_nobody_there_is_said_with_the_way_out() -> None:
    with Client("http://127.0.0.1:1", TOKEN) as client, pytest.raises(ServerUnavailable) as refused:
        client.version()
    assert "start it with 'cco up' or 'make up'" in str(refused.value)
    assert "http://127.0.0.1:1" in str(refused.value)
    with pytest.raises(ServerUnavailable), Client("http://127.0.0.1:1", TOKEN) as client:
        next(iter(client.watch()))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(502, text="bad gateway"),
        httpx.Response(302, headers={"Location": "/x"}),
        httpx.Response(404, json={"detail": "x"}),
    ],
)
def test_another_program_is_recognised(answer: httpx.Response) -> None:
    client, _ = answering(lambda _: answer)
    with pytest.raises(ApiError, match="probably not a cc-orchestrator server") as refused:
        client.version()
    assert refused.value.reason == "NotAnApi"


@pytest.mark.parametrize("url", ["http://", "ftp://x", "http://[::1", "http://x:y"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(ServerUnavailable, match="is not the address of a server"), Client(url, TOKEN) as client:
        client.version()


@pytest.mark.parametrize("token", [f"{TOKEN}\r", f"{TOKEN} x", f"{TOKEN}é", f"a\n{TOKEN}", ""])
def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(Terminal, match="the API token is empty or has a character") as refused:
        Client("http://127.0.0.1:1", token)
    assert refused.value.reason == "TokenUnreadable"
    assert TOKEN not in str(refused.value)


def test_the_token_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    client, _ = answering(unreachable, unreachable, unreachable)
    with pytest.raises(ServerUnavailable) as refused:
        client.version()
    shown = [repr(client), str(refused.value), repr(refused.value), caplog.text, repr(vars(client))]
    assert not any(TOKEN in text for text in shown)


def test_without_a_token_the_reason_is_said(transport: httpx.BaseTransport) -> None:
    with pytest.raises(ApiError, match="no token was found to send") as refused:
        Client("http://127.0.0.1:8080", None, transport=transport).version()
    assert refused.value.status == 401


def test_server_and_token_are_found_in_order(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[str, str | None]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url.copy_with(path="/")), request.headers.get("authorization")))
        return version(request)

    def ask(**given: str) -> tuple[str, str | None]:
        Client.from_settings(settings, transport=httpx.MockTransport(handle), **given).version()
        return seen[-1]

    assert ask() == ("http://127.0.0.1:8080/", None)
    settings.state_dir.mkdir()
    settings.token_file.write_text("from-state\n")
    assert ask()[1] == "Bearer from-state"
    (tmp_path / "other").write_text("from-file")
    monkeypatch.setenv("CCO_TOKEN_FILE", str(tmp_path / "other"))
    assert ask()[1] == "Bearer from-file"
    monkeypatch.setenv("CCO_TOKEN", "from-environment")
    monkeypatch.setenv("CCO_SERVER", "box:9000")
    assert ask() == ("http://box:9000/", "Bearer from-environment")
    monkeypatch.setenv("CCO_TOKEN", " from-environment \r\n")
    assert ask()[1] == "Bearer from-environment"
    assert ask(server="http://flag", token="from-flag")  # noqa: S106 - not a secret == ("http://flag/", "Bearer from-flag")
    monkeypatch.delenv("CCO_TOKEN")
    monkeypatch.setenv("CCO_TOKEN_FILE", str(tmp_path))
    with pytest.raises(Terminal, match="cannot be read"):
        ask()


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:8080"), ("::", "http://[::1]:8080"), ("box", "http://box:8080")],  # noqa: S104 - compared
)
def test_the_local_server_is_where_it_listens(settings: Settings, host: str, url: str) -> None:
    assert Client.from_settings(settings.model_copy(update={"host": host})).base_url == url


def test_unknown_fields_of_a_newer_server_do_not_disturb() -> None:
    plan = {"actions": [{"action": "A", "reason": "r", "new": 1}], "blocked": None, "requeue_after": 1.5, "new": []}
    client, _ = answering(lambda _: httpx.Response(200, json=plan))
    assert client.instance_plan("web") == Plan.model_validate(plan)


def test_event_streams_are_split_where_they_should_be() -> None:
    text = ': hello\n\nevent: change\nid: 7\ndata: {"a": "\u2028\x0b\x85"}\n\ndata: one\r\ndata:two\r\n\r\nid: 8\n\n'
    for size in (1, 3, 1000):
        chunks = [text[i : i + size] for i in range(0, len(text), size)]
        assert list(parse_stream(iter(chunks))) == [
            Message("comment", "hello", None),
            Message("change", '{"a": "\u2028\x0b\x85"}', "7"),
            Message("message", "one\ntwo", None),
        ]
