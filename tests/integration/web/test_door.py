from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import nicegui
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from support.fleet import declare, register
from support.web_server import Server

FILES = f"/_nicegui/{nicegui.__version__}"
HTML = {"Accept": "text/html"}

CLOSED = (
    "/",
    "/instances/web",
    "/nothing/here",
    "/docs",
    "/favicon.ico",
    f"{FILES}/static/nicegui.js",
    f"{FILES}/static/vue.esm-browser.prod.js",
    f"{FILES}/components/x/y.js",
    f"{FILES}/libraries/x",
    "/_nicegui_ws/socket.io/?EIO=4&transport=polling",
)


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as client:
        yield client


@pytest.mark.parametrize("path", CLOSED)
def test_nothing_answers_without_a_session(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 401


@pytest.mark.parametrize("path", ["/", "/instances/web?tab=events"])
def test_a_browser_is_sent_to_sign_in_and_back(http: httpx.Client, path: str) -> None:
    answer = http.get(path, headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/login?{urlencode({'next': path}, safe='')}"


def test_the_sign_in_page_needs_nothing_behind_the_door(http: httpx.Client) -> None:
    page = http.get("/login")
    assert page.status_code == 200
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) >= 6
    for path in linked:
        answer = http.get(path)
        assert answer.status_code == 200, path
        assert "max-age=31536000" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_have_a_strict_policy_and_are_not_stored(http: httpx.Client, server: Server) -> None:
    answer = http.get("/", headers={"Authorization": f"Bearer {server.token}"})
    policy = answer.headers["content-security-policy"]
    assert "'unsafe-eval'" not in policy
    assert "'unsafe-inline'" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert server.token not in answer.text


def socket_url(server: Server) -> str:
    return f"{server.url.replace('http', 'ws')}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"


def session_cookie(server: Server) -> str:
    answer = httpx.post(f"{server.url}/login", json={"token": server.token})
    assert answer.status_code == 204
    text = answer.headers["set-cookie"]
    for flag in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert flag in text
    return text.partition(";")[0]


def test_a_websocket_needs_a_session(server: Server) -> None:
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        connect(socket_url(server), origin=Origin(server.url)) as socket,
    ):
        socket.recv(timeout=5)


@pytest.mark.parametrize(
    "origin", [Origin("http://evil.example"), Origin("http://127.0.0.1:1"), None], ids=["name", "port", "none"]
)
def test_a_websocket_of_another_origin_is_refused(server: Server, origin: Origin | None) -> None:
    cookie = {"Cookie": session_cookie(server)}
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        connect(socket_url(server), origin=origin, additional_headers=cookie) as socket,
    ):
        socket.recv(timeout=5)


def test_a_websocket_of_a_signed_in_page_is_let_in(server: Server) -> None:
    cookie = {"Cookie": session_cookie(server)}
    with connect(socket_url(server), origin=Origin(server.url), additional_headers=cookie) as socket:
        opened = str(socket.recv(timeout=5))
        assert json.loads(opened[1:])["sid"]


@pytest.mark.browser
def test_a_pasted_token_signs_in_and_leads_back(context: BrowserContext, server: Server) -> None:
    register(server.client, server.store, "shop")
    declare(server.client, "web", "shop")
    page = context.new_page()
    page.goto("/instances/web")
    expect(page).to_have_url(re.compile("/login"))
    expect(page.get_by_label("Token")).to_be_focused()
    page.get_by_label("Token").fill("not-the-token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("The token is not this server's")
    page.get_by_label("Token").fill(server.token)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.url}/instances/web")
    expect(page.get_by_role("heading", name="web")).to_be_visible()


@pytest.mark.browser
def test_an_address_pasted_into_the_open_sign_in_page_signs_in(context: BrowserContext, server: Server) -> None:
    page = context.new_page()
    page.goto("/login")
    page.goto(f"/login#token={server.token}")
    page.wait_for_url(f"{server.url}/", timeout=20_000)


@pytest.mark.browser
def test_a_link_from_elsewhere_needs_no_second_sign_in(page: Page, server: Server) -> None:
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    page.route(f"{elsewhere}/", lambda route: route.fulfill(body=f"<a href='{server.url}/instances/web'>go</a>"))
    page.goto(elsewhere)
    page.get_by_role("link", name="go").click()
    expect(page).to_have_url(f"{server.url}/instances/web")
    expect(page.get_by_role("heading", name="web")).to_be_visible()


@pytest.mark.browser
def test_the_token_leaves_no_trace(page: Page, server: Server) -> None:
    page.go_back()
    assert server.token not in page.url
    page.goto("/")
    script = (
        "document.documentElement.outerHTML + JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie"
    )
    assert server.token not in str(page.evaluate(f"() => {script}"))
    assert server.token not in server.log.read_text()


@pytest.mark.browser
def test_signing_out_closes_the_door(page: Page, server: Server) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{server.url}/login")
    page.goto("/")
    expect(page).to_have_url(re.compile("/login"))


@pytest.mark.browser
def test_a_sign_in_leads_nowhere_else(context: BrowserContext, server: Server) -> None:
    for target in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        page = context.new_page()
        page.goto(f"/login?{urlencode({'next': target})}#token={server.token}")
        page.wait_for_url(f"{server.url}/**")
        expect(page).not_to_have_url(re.compile("login"))
        assert page.url.startswith(f"{server.url}/")
        page.close()
