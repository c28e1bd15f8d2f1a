"""``GET /login``: the one page without a session, so also without NiceGUI, whose files need one.

Its script posts the token to the API's ``POST /login``, which answers with the session's cookie.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from .policy import LOGIN_POLICY

_PAGE = Path(__file__).parent / "login.html"


class LoginPage:
    """Serves the page; ``assets`` is where its style sheets and scripts are."""

    def __init__(self, assets: str) -> None:
        self._text = _PAGE.read_text(encoding="utf-8").replace("{assets}", assets)

    async def show(self, request: Request) -> Response:
        """Answer a request."""
        del request
        headers = {
            "Content-Security-Policy": LOGIN_POLICY,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        }
        return HTMLResponse(self._text, headers=headers)
