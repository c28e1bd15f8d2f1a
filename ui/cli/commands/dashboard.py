"""``dashboard``: the login link, printed or opened. The token is in the fragment, which no server ever sees."""

from __future__ import annotations

import html
import os
import webbrowser
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import platformdirs
import typer

from controller.settings import APP
from ui.cli.connection import find_token
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.invocation import Invocation


def dashboard(
    cli: Invocation,
    *,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser, too.")] = False,
) -> None:
    """Print or open the dashboard's login link.

    Whoever has the link is logged in: treat it as a password.
    """
    with cli.client() as client:
        client.health()
        address = client.base_url
    token = find_token(cli)
    if token is None:
        raise Failure(
            f"no token for {address} was found",
            hint="name its file with --token-file or CCO_TOKEN_FILE",
            code=ExitCode.DENIED,
        )
    link = f"{address}/login#token={quote(token, safe='')}"
    cli.out.line(link)
    if open_browser and not webbrowser.open(_redirect(link).as_uri()):
        cli.err.line("no browser could be opened here: open the link by hand", "notice")


def _redirect(link: str) -> Path:
    """Write a private page that leads to the link: a browser's arguments can be read by everybody on the machine."""
    folder = Path(platformdirs.user_runtime_dir(APP))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "dashboard.html"
    file.unlink(missing_ok=True)
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(link)}"><title>{APP}</title>\n'
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(page)
    return file
