"""Making the client: which server, which token."""

from __future__ import annotations

import os
from pathlib import Path

from api.client import Client

from .exit_codes import ExitCode
from .failures import Failure
from .invocation import Invocation


def open_client(invocation: Invocation) -> Client:
    """Return a client for the server that flags, environment and configuration name, in this order.

    Raises:
        Failure: ``--token-file`` cannot be read.
        Terminal: the configuration is wrong, or the state directory's token cannot be read.
    """
    return Client.from_settings(invocation.settings, server=invocation.server, token=read_token_flag(invocation))


def find_token(invocation: Invocation) -> str | None:
    """Return the token a client would send, for the one place where a person has to hand it on: the login link."""
    path = Path(os.environ.get("CCO_TOKEN_FILE") or invocation.settings.token_file)
    token = read_token_flag(invocation) or os.environ.get("CCO_TOKEN", "").strip() or None
    if token is None and path.is_file():
        token = path.read_text(encoding="ascii").strip()
    return token or None


def read_token_flag(invocation: Invocation) -> str | None:
    """Return the token in the file that ``--token-file`` names, or ``None`` without that flag."""
    path = invocation.token_file
    if path is None:
        return None
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Failure(f"--token-file {path}: cannot be read: {reason}", code=ExitCode.DENIED) from error
    if not token:
        raise Failure(f"--token-file {path}: is empty", code=ExitCode.DENIED)
    return token
