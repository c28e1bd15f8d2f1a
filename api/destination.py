"""Which server a client speaks to, and with which token; ``Client.from_settings`` asks here."""

from __future__ import annotations

import os
from pathlib import Path

from controller.errors import Terminal
from controller.settings import Settings


def server_address(settings: Settings, server: str | None) -> str:
    """Return the URL that the argument, ``CCO_SERVER`` or the settings name, in this order."""
    url = server or os.environ.get("CCO_SERVER") or settings.url
    return url if "://" in url else f"http://{url}"


def server_token(settings: Settings) -> str | None:
    """Return the token in ``CCO_TOKEN``, the file ``CCO_TOKEN_FILE`` or the state directory; ``None`` without any.

    Raises:
        Terminal: ``TokenUnreadable``.
    """
    return os.environ.get("CCO_TOKEN") or _read_token(settings)


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
