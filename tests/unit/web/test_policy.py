from __future__ import annotations

import asyncio
import re

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ui.web.policy import ContentPolicy

PAGE = """<html><style>a{}</style><script type="module">1</script><script>2</script>
<div>&lt;script>3&lt;/script></div><scripture></scripture></html>"""


async def page(request: Request) -> Response:
    del request
    return HTMLResponse(PAGE, headers={"X-NiceGUI-Content": "page"})


async def data(request: Request) -> Response:
    del request
    return JSONResponse({"text": "<script>"})


async def strict(request: Request) -> Response:
    del request
    return JSONResponse({}, headers={"Content-Security-Policy": "default-src 'none'"})


async def stream(request: Request) -> Response:
    del request
    return StreamingResponse(iter([b"<script>", b"<style>"]))


APP = ContentPolicy(
    Starlette(routes=[Route(f"/{endpoint.__name__}", endpoint) for endpoint in (page, data, strict, stream)])
)


def get(path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://test") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_every_tag_of_a_page_carries_the_nonce_of_its_policy() -> None:
    answer = get("/page")
    policy = answer.headers["content-security-policy"]
    found = re.search(r"script-src 'self' 'nonce-([\w-]{20,})'", policy)
    assert found is not None
    nonce = found[1]
    assert f"style-src 'self' 'nonce-{nonce}'" in policy
    assert answer.text.count(f'nonce="{nonce}"') == 3
    assert f'<script nonce="{nonce}" type="module">' in answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_escaped_tags_and_other_elements_get_no_nonce() -> None:
    text = get("/page").text
    assert "&lt;script>3&lt;/script>" in text
    assert "<scripture>" in text


def test_no_nonce_is_used_twice() -> None:
    assert get("/page").headers["content-security-policy"] != get("/page").headers["content-security-policy"]


def test_nothing_may_compile_text_or_come_from_elsewhere() -> None:
    policy = get("/page").headers["content-security-policy"]
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy
    assert "http" not in policy
    for directive in ("default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"):
        assert directive in policy


def test_other_answers_keep_their_body_and_their_own_policy() -> None:
    assert get("/data").json() == {"text": "<script>"}
    assert "content-security-policy" not in get("/data").headers
    assert get("/strict").headers["content-security-policy"] == "default-src 'none'"
    assert get("/stream").text == "<script><style>"
