"""How a person reaches a server that was started here, also where commands go to another one by themselves."""

from __future__ import annotations

import os

from .invocation import Invocation


def log_in(cli: Invocation, url: str) -> str:
    """Return the command that logs in to the dashboard at an address."""
    return "cco dashboard --open" if _is_usual(cli, url) else f"cco dashboard --open --server {url}"


def tell_of_address(cli: Invocation, url: str) -> None:
    """Say how commands reach the server at an address, where they would go to another one."""
    if not _is_usual(cli, url):
        cli.err.line(
            f"commands go to {_usual(cli)}; to this one with '--server {url}', or all with 'export CCO_SERVER={url}'",
            "notice",
        )


def _is_usual(cli: Invocation, url: str) -> bool:
    return _usual(cli).rstrip("/") == url.rstrip("/")


def _usual(cli: Invocation) -> str:
    return os.environ.get("CCO_SERVER") or cli.settings.url
