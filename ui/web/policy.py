"""The content security policy of the pages: our own files and nothing else.

NiceGUI's page template has inline scripts and styles, so each answer gets a nonce that is written into their
tags. The tags come from the template and from our constants only: what agents or users named is inside a JSON
text in which NiceGUI escapes ``<``. Without ``unsafe-eval`` the browser refuses whatever compiles text to code, and
with it NiceGUI's own ``run_javascript``; nothing here uses that.
"""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TAG = re.compile(rb"<(script|style)(?=[\s>])")

# Of the one style attribute in NiceGUI's template: display: none
_TEMPLATE_STYLE = "'sha256-ZdHxw9eWtnxUb3mk6tBS+gIiVUPE3pGM470keHPDFlE='"

POLICY = (
    "default-src 'none'; script-src 'self'{nonce}; style-src 'self'{nonce}; "
    f"style-src-attr 'unsafe-hashes' {_TEMPLATE_STYLE}; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types vue dompurify"
)

LOGIN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


class ContentPolicy:
    """ASGI middleware: gives each page its policy; other answers get theirs from the API's gate."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add the policy if the answer is a page."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Answer(send).send)


class _Answer:
    """One answer on its way out; a page is held back until it is complete."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if headers.get("x-nicegui-content") == "page":
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            await self._send_page(self._start)
            return
        await self._send(message)

    async def _send_page(self, start: Message) -> None:
        nonce = secrets.token_urlsafe(16)
        body = _TAG.sub(rb'<\1 nonce="%s"' % nonce.encode(), bytes(self._body))
        headers = MutableHeaders(scope=start)
        headers["content-length"] = str(len(body))
        headers["content-security-policy"] = POLICY.format(nonce=f" 'nonce-{nonce}'")
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})
