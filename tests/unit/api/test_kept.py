"""Answers that are kept: the same bytes while nothing changes, never an old one, never more than fits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api import kept
from api.kept import KeptAnswers
from controller.errors import Terminal
from controller.resources import InstanceStatus
from controller.settings import Settings
from controller.store import Store
from support.api_world import TOKEN, instance_body, instance_manifest, repository_manifest
from support.in_process import InProcess


class Counting:
    """An application that counts what it is asked."""

    def __init__(self, body: bytes = b"{}", status: int = 200) -> None:
        self.asked: list[str] = []
        self.body = body
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        await Response(self.body, self.status, media_type="application/json")(scope, receive, send)


@pytest.fixture
def inner() -> Counting:
    return Counting()


@pytest.fixture
def answers(inner: Counting, store: Store) -> KeptAnswers:
    return KeptAnswers(inner, store)


def ask(app: ASGIApp, path: str, query: bytes = b"", method: str = "GET") -> httpx.Response:
    """Ask as the server would."""
    head: dict[str, object] = {}
    body = bytearray()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            part = message["body"]
            assert isinstance(part, bytes)
            body.extend(part)

    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": []}
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]  # a part of a scope, and plain dicts
    status, headers = head["status"], head["headers"]
    assert isinstance(status, int)
    return httpx.Response(status, headers=headers, content=bytes(body))  # type: ignore[arg-type]  # pairs of bytes


def test_the_same_answer_is_made_once(answers: KeptAnswers, inner: Counting) -> None:
    first, second = ask(answers, "/api/instances/web"), ask(answers, "/api/instances/web")
    assert inner.asked == ["/api/instances/web"]
    assert (first.content, dict(first.headers)) == (second.content, dict(second.headers))


def test_a_commit_makes_it_new(answers: KeptAnswers, inner: Counting, store: Store) -> None:
    ask(answers, "/api/instances")
    store.repositories.create(repository_manifest())
    ask(answers, "/api/instances")
    assert len(inner.asked) == 2


def test_a_commit_of_another_process_makes_it_new(answers: KeptAnswers, inner: Counting, settings: Settings) -> None:
    ask(answers, "/api/instances")
    with Store.open(settings.database) as other:
        other.repositories.create(repository_manifest())
        ask(answers, "/api/instances")
    assert len(inner.asked) == 2


def test_what_changes_while_it_is_answered_is_not_kept_as_new(store: Store) -> None:
    class Slow(Counting):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if not self.asked:
                store.repositories.create(repository_manifest())
            await super().__call__(scope, receive, send)

    inner = Slow()
    answers = KeptAnswers(inner, store)
    ask(answers, "/api/instances")
    ask(answers, "/api/instances")
    assert len(inner.asked) == 2


def test_another_question_has_another_answer(answers: KeptAnswers, inner: Counting) -> None:
    for query in (b"", b"limit=1", b"limit=2", b"limit=1"):
        ask(answers, "/api/instances", query)
    assert len(inner.asked) == 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/instances"),
        ("HEAD", "/api/instances"),
        ("DELETE", "/api/instances/web"),
        ("GET", "/api/instances/web/plan"),
        ("GET", "/api/instances/web/events"),
        ("GET", "/api/instances/"),
        ("GET", "/api/health"),
        ("GET", "/api/watch"),
        ("GET", "/api/doctor"),
    ],
)
def test_nothing_else_is_kept(answers: KeptAnswers, inner: Counting, method: str, path: str) -> None:
    ask(answers, path, method=method)
    ask(answers, path, method=method)
    assert len(inner.asked) == 2


@pytest.mark.parametrize("status", [404, 422, 500, 503])
def test_a_refusal_is_not_kept(answers: KeptAnswers, inner: Counting, status: int) -> None:
    inner.status = status
    assert ask(answers, "/api/instances/web").status_code == status
    ask(answers, "/api/instances/web")
    assert len(inner.asked) == 2


def test_the_oldest_make_room(answers: KeptAnswers, inner: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_BYTES", 4096)
    inner.body = b"x" * 1000
    for number in range(10):
        ask(answers, f"/api/instances/web-{number}")
    assert len(answers) == 4
    ask(answers, "/api/instances/web-9")
    assert len(inner.asked) == 10


def test_a_huge_answer_is_passed_on_and_not_kept(
    answers: KeptAnswers, inner: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MAX_ANSWER", 100)
    inner.body = b"x" * 101
    assert len(ask(answers, "/api/instances").content) == 101
    assert len(answers) == 0


def test_where_the_database_cannot_be_asked_the_application_is(
    answers: KeptAnswers, inner: Counting, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(answers, "/api/instances")

    def replaced() -> int:
        raise Terminal("DatabaseReplaced", "it was replaced")

    monkeypatch.setattr(store, "stamp", replaced)
    ask(answers, "/api/instances")
    monkeypatch.setattr(store, "stamp", lambda: None)
    ask(answers, "/api/instances")
    assert len(inner.asked) == 3


def test_the_real_application_tells_what_is_there_now(http: httpx.Client, store: Store) -> None:
    store.repositories.create(repository_manifest())
    made = http.post("/api/instances", json=instance_body("web")).json()
    first = http.get("/api/instances/web")
    assert http.get("/api/instances/web").json() == first.json() == made
    assert http.get("/api/instances/web").headers["ETag"] == first.headers["ETag"]
    store.instances.update_status(made["metadata"]["uid"], InstanceStatus(attempt=3))
    assert http.get("/api/instances/web").json()["status"]["attempt"] == 3
    assert [each["status"]["attempt"] for each in http.get("/api/instances").json()["items"]] == [3]
    store.instances.request_deletion("web")
    store.instances.purge(made["metadata"]["uid"])
    assert http.get("/api/instances/web").status_code == 404


@pytest.fixture
def stranger(transport: InProcess) -> Iterator[httpx.Client]:
    with httpx.Client(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield client


def test_nobody_gets_a_kept_answer_without_the_token(http: httpx.Client, stranger: httpx.Client, store: Store) -> None:
    store.repositories.create(repository_manifest())
    store.instances.create(instance_manifest("web"))
    assert http.get("/api/instances/web").status_code == 200
    assert stranger.get("/api/instances/web").status_code == 401
    right = stranger.get("/api/instances/web", headers={"Authorization": f"Bearer {TOKEN}"})
    assert right.headers["Content-Security-Policy"] == http.get("/api/instances/web").headers["Content-Security-Policy"]
    assert right.headers["Cache-Control"] == "no-store"


def test_a_closed_store_has_no_stamp(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "state.db")
    assert store.stamp() is not None
    store.close()
    assert store.stamp() is None
