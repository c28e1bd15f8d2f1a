"""Which server a client speaks to, and with which token; ``Client.from_settings`` asks here."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from controller.errors import Terminal
from controller.settings import Settings

_TOKEN: Final = re.compile(r"[!-~]+")


def server_address(settings: Settings, server: str | None) -> str:
    """Return the URL that the argument, ``CCO_SERVER`` or the settings name, in this order."""
    url = server or os.environ.get("CCO_SERVER") or settings.url
    return url if "://" in url else f"http://{url}"


def server_token(settings: Settings) -> str | None:
    """Return the token in ``CCO_TOKEN``, the file ``CCO_TOKEN_FILE`` or the state directory; ``None`` without any.

    Raises:
        Terminal: ``TokenUnreadable``.
    """
    return os.environ.get("CCO_TOKEN", "").strip() or _read_token(settings)


def check_token(token: str) -> str:
    """Return the token if an HTTP header can carry it; the error never shows any of it.

    Raises:
        Terminal: ``TokenUnreadable``.
    """
    if _TOKEN.fullmatch(token) is None:
        raise Terminal(
            "TokenUnreadable",
            "the API token is empty or has a character that no token has (a space, a line break, one outside ASCII): "
            "check CCO_TOKEN, or the file that --token-file or CCO_TOKEN_FILE names",
        )
    return token


def _read_token(settings: Settings) -> str | None:
    path = Path(os.environ.get("CCO_TOKEN_FILE") or settings.token_file)
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None  # the server is asked all the same: it tells best whether it runs and what it wants
    except (OSError, UnicodeDecodeError) as error:
        raise Terminal(
            "TokenUnreadable",
            f"{path}: the API token cannot be read ({error}): run as the user that started cc-orchestrator, or set "
            "CCO_TOKEN_FILE to a file with the token",
        ) from error
