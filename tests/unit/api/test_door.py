"""Who gets in, from where, with how much; and what is said to the others."""

from __future__ import annotations

import hmac
import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket

from api.auth import FAILURE_WINDOW_SECONDS, MAX_ADDRESSES, SESSION_SECONDS, Auth, Failures
from api.wire import MAX_BODY_BYTES
from support.api_world import repository_body
from support.in_process import InProcess

BASE = "http://127.0.0.1:8080"
ORIGIN = {"Origin": BASE}


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["reason"]


def test_every_route_asks_for_the_token_except_health_and_login(app: FastAPI, stranger: httpx.Client) -> None:
    asked = 0
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            url = path.replace("{", "").replace("}", "")
            answer = stranger.request(method, url)
            if path == "/api/health":
                assert answer.status_code == 200
            elif path == "/login":
                assert problem(answer) == (422, "Invalid")
            else:
                assert problem(answer) == (401, "Unauthorized"), (method, path)
                assert answer.headers["www-authenticate"] == "Bearer"
                asked += 1
    assert asked > 20
    for path in (
        "/docs",
        "/openapi.json",
        "/",
        "/anything",
        "/api/none",
        "/_nicegui_ws/socket.io",
        "/loginx",
        "/assets",
    ):
        assert stranger.get(path).status_code == 401, path
    assert stranger.get("/assets/x.css").status_code == 404


def test_a_wrong_token_is_refused_and_then_slowed_but_never_the_right_one(
    stranger: httpx.Client, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    guess = "wrong-" + "g" * 40
    codes = [
        stranger.get("/api/instances", headers={"Authorization": f"Bearer {guess}"}).status_code for _ in range(20)
    ]
    assert codes == [401] * 10 + [429] * 10
    late = stranger.get("/api/instances", headers={"Authorization": f"Bearer {guess}"})
    assert int(late.headers["retry-after"]) > 0
    assert guess not in late.text
    assert guess not in caplog.text
    assert stranger.post("/login", json={"token": guess}).status_code == 429
    for header in (f"Bearer {token}", f"bearer  {token} "):
        assert stranger.get("/api/instances", headers={"Authorization": header}).status_code == 200
    for header in (token, f"Basic {token}", f"Bearer {token}x", "Bearer", "Bearer tö"):
        encoded = {b"Authorization": header.encode("latin-1")}
        assert stranger.get("/api/instances", headers=encoded).status_code in {401, 429}


def test_tokens_and_sessions_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(given: bytes, right: bytes) -> bool:
        compared.append((given, right))
        return real(given, right)

    auth = Auth("t" * 30)
    session = auth.cookie(secure=False).partition(";")[0]
    monkeypatch.setattr("api.auth.hmac.compare_digest", compare)
    for guess in (b"u", b"t" * 29 + b"u", b"", "ü".encode()):
        assert not auth.bearer_matches(b"Bearer " + guess)
        assert compared[-1] == (guess, b"t" * 30), "the whole of it, however early it differs"
    assert auth.bearer_matches(b"Bearer " + b"t" * 30)
    assert auth.session_valid([session])
    assert len(compared) == 6


def test_failures_are_counted_by_address_in_bounded_memory() -> None:
    now = 0.0
    failures = Failures(clock=lambda: now)
    assert [failures.count("a") for _ in range(11)][-1] == round(FAILURE_WINDOW_SECONDS)
    assert failures.count("b") is None
    now = FAILURE_WINDOW_SECONDS + 1
    assert failures.count("a") is None
    for number in range(3 * MAX_ADDRESSES):
        failures.count(str(number))
    assert len(failures._seen) == MAX_ADDRESSES  # noqa: SLF001 - the bound is the point


def test_signing_in_gives_a_session_that_ends(stranger: httpx.Client, token: str) -> None:
    assert problem(stranger.post("/login", json={"token": "x" * 30})) == (401, "Unauthorized")
    signed_in = stranger.post("/login", json={"token": token}, headers=ORIGIN)
    assert signed_in.status_code == 204
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly; SameSite=Strict" in cookie
    assert "Path=/" in cookie
    assert token not in cookie
    assert stranger.get("/api/instances").status_code == 200, "the client keeps cookies"
    assert stranger.post("/logout", headers=ORIGIN).status_code == 204
    assert stranger.get("/api/instances").status_code == 401


def test_signing_in_works_with_a_form(stranger: httpx.Client, token: str) -> None:
    assert stranger.post("/login", data={"token": token}).status_code == 204


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"token": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_sign_in_is_said(stranger: httpx.Client, body: bytes) -> None:
    answer = stranger.post("/login", content=body)
    assert problem(answer) == (422, "Invalid")


def test_sessions_are_signed_bounded_and_die_with_the_token() -> None:
    now = 1000.0
    auth = Auth("t" * 30, clock=lambda: now)
    name, _, value = auth.cookie(secure=True).partition(";")[0].partition("=")
    assert auth.session_valid([f"other={{}}; {name}={value}", ""])
    assert not Auth("u" * 30, clock=lambda: now).session_valid([f"{name}={value}"])
    version, expiry, rest = value.split(".", 2)
    forged = f"{name}={version}.{int(expiry) + 1}.{rest}"
    for wrong in (forged, f"{name}={value}0", f"{name}=", f"{name}=ü.ü", "garbage", f"x{name}={value}"):
        assert not auth.session_valid([wrong])
    now += SESSION_SECONDS + 1
    assert not auth.session_valid([f"{name}={value}"])
    assert "Secure" in auth.cookie(secure=True)
    assert "tttt" not in repr(auth)


def test_a_session_changes_things_only_from_our_own_pages(stranger: httpx.Client, token: str) -> None:
    stranger.post("/login", json={"token": token})
    body = repository_body()
    assert problem(stranger.post("/api/repositories", json=body)) == (403, "OriginNotAllowed")
    for origin in ("http://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1"):
        answer = stranger.post("/api/repositories", json=body, headers={"Origin": origin})
        assert problem(answer) == (403, "OriginNotAllowed"), origin
    assert stranger.post("/api/repositories", json=body, headers=ORIGIN).status_code == 201


def test_a_foreign_page_is_refused_even_with_the_token(http: httpx.Client) -> None:
    answer = http.post("/api/repositories", json=repository_body(), headers={"Origin": "http://evil.example"})
    assert problem(answer) == (403, "OriginNotAllowed")
    assert "access-control-allow-origin" not in http.get("/api/instances", headers={"Origin": "http://evil"}).headers
    preflight = http.options("/api/instances", headers={**ORIGIN, "Access-Control-Request-Method": "POST"})
    assert "access-control-allow-origin" not in preflight.headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil", "127.0.0.1:x", "", "[::2]"])
def test_a_host_we_do_not_know_is_turned_away(http: httpx.Client, host: str) -> None:
    answer = http.get("/api/health", headers={"Host": host})
    assert problem(answer) == (400, "HostNotAllowed")
    assert "CCO_ALLOWED_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9999", "[::1]:8080", "[::1]", "127.0.0.1:1"])
def test_a_host_we_know_may_have_any_port(http: httpx.Client, host: str) -> None:
    assert http.get("/api/health", headers={"Host": host}).status_code == 200


def test_large_bodies_are_refused_whether_they_say_so_or_not(http: httpx.Client) -> None:
    big = b'{"x": "' + b"x" * MAX_BODY_BYTES + b'"}'
    headers = {"Content-Type": "application/json"}
    assert problem(http.post("/api/instances", content=big, headers=headers)) == (413, "BodyTooLarge")
    assert http.post("/api/instances", content=big, headers={**headers, "Content-Length": "10"}).status_code == 413
    assert problem(http.post("/login", content=big)) == (413, "BodyTooLarge")


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"null", b"", b"[]", b'"x"'])
def test_what_is_no_manifest_is_never_an_accident(http: httpx.Client, content: bytes) -> None:
    answer = http.post("/api/instances", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text


def test_half_characters_are_refused_readably(http: httpx.Client) -> None:
    body = b'{"metadata": {"name": "\\ud800"}, "spec": {"repository": "\\udfff", "prompt": "\\ud83d"}}'
    answer = http.post("/api/instances", content=body, headers={"Content-Type": "application/json"})
    assert problem(answer) == (422, "Invalid")
    assert http.patch("/api/instances/x", content=body, headers={"Content-Type": "application/json"}).status_code in {
        404,
        422,
    }


def test_methods_are_answered_properly(http: httpx.Client) -> None:
    for method in ("TRACE", "TRACK", "CONNECT", "QUERY", "PROPFIND", "X" * 100):
        for path in ("/api/instances", "/", "/login"):
            unserved = http.request(method, path)
            assert problem(unserved) == (405, "MethodNotAllowed"), (method, path)
            assert unserved.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    for path in ("/login", "/logout"):
        refused = http.delete(path)
        assert problem(refused) == (405, "MethodNotAllowed")
        assert "POST" in refused.headers["allow"]
    wrong = http.delete("/api/instances")
    assert problem(wrong) == (405, "MethodNotAllowed")
    assert wrong.headers["allow"] == "GET, POST"
    assert "use GET, POST" in wrong.json()["detail"]
    assert problem(http.get("/api/none")) == (404, "NotFound")
    assert problem(http.get("/api/instances/")) == (404, "NotFound")
    assert problem(http.get("/none")) == (404, "NotFound")


def test_answers_carry_security_headers(http: httpx.Client, stranger: httpx.Client) -> None:
    for answer in (
        http.get("/api/instances"),
        stranger.get("/api/instances"),
        http.get("/api/none"),
        http.get("/docs"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert http.get("/api/instances").headers["cache-control"] == "no-store"


def test_pages_send_strangers_to_the_login_page(stranger: httpx.Client) -> None:
    answer = stranger.get("/instances/web?tab=1", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Finstances%2Fweb%3Ftab%3D1")
    assert stranger.get("/api/instances", headers={"Accept": "text/html"}).status_code == 401


def test_an_accident_is_a_problem_without_a_traceback(
    app: FastAPI, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("secret detail")

    app.add_api_route("/fails", fail)
    answer = http.get("/fails")
    assert problem(answer) == (500, "InternalError")
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({}, False),
        ({"cookie": "{cookie}"}, False),
        ({"cookie": "{cookie}", "origin": "http://evil.example"}, False),
        ({"cookie": "{cookie}", "origin": BASE}, True),
        ({"cookie": "{cookie}", "origin": BASE, "host": "evil.example"}, False),
        ({"authorization": "Bearer {token}"}, True),
        ({"authorization": "Bearer {token}", "origin": "http://evil.example"}, False),
    ],
)
def test_websockets_pass_the_same_door(
    app: FastAPI,
    transport: InProcess,
    token: str,
    headers: dict[str, str],
    accepted: bool,  # noqa: FBT001 - a column
) -> None:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    app.add_api_websocket_route("/ws", echo)
    cookie = app.state.auth.cookie(secure=False).partition(";")[0]
    given = {"host": "127.0.0.1:8080", **headers}
    raw = [(k.encode(), v.format(cookie=cookie, token=token).encode()) for k, v in given.items()]
    scope = {
        "type": "websocket",
        "path": "/ws",
        "raw_path": b"/ws",
        "query_string": b"",
        "headers": raw,
        "subprotocols": [],
    }
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    transport.call(app, scope, receive, send)
    assert sent == (["websocket.accept", "websocket.close"] if accepted else ["websocket.close"])
