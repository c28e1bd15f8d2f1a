"""Errors as a person sees them: what is wrong, what to do next, and an exit code.

``translate`` is called in one place, the entry point; commands raise :class:`Failure` for what they find out
themselves and let everything else (``api.client`` errors, ``controller.errors``) pass.
"""

from __future__ import annotations

import sys

from .exit_codes import ExitCode


class Failure(Exception):
    """A command cannot do what was asked.

    Attributes:
        message: what, with field and value.
        hint: what to do next; may be empty.
        code: the exit code.
    """

    def __init__(self, message: str, *, hint: str = "", code: ExitCode = ExitCode.GENERAL) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


_CODE_OF_STATUS = {
    400: ExitCode.INVALID,
    401: ExitCode.DENIED,
    403: ExitCode.DENIED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    410: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    413: ExitCode.INVALID,
    422: ExitCode.INVALID,
    504: ExitCode.TIMEOUT,
}
_CODE_OF_REASON = {"InvalidConfig": ExitCode.INVALID, "TokenUnreadable": ExitCode.DENIED}


def translate(error: BaseException) -> Failure | None:
    """Return the failure behind an exception, or ``None`` for one that nobody foresaw.

    The client and the settings are looked up only if they were imported: an error of theirs cannot exist otherwise.
    """
    if isinstance(error, Failure):
        return error
    if "api.client" in sys.modules:
        failure = _from_client(error)
        if failure is not None:
            return failure
    if "controller.errors" in sys.modules:
        from controller.errors import CcoError  # noqa: PLC0415  # imported already, see the line above

        if isinstance(error, CcoError):
            return Failure(error.message, code=_CODE_OF_REASON.get(error.reason, ExitCode.GENERAL))
    if isinstance(error, FileNotFoundError):
        return Failure(f"{error.filename}: there is no such file or folder", code=ExitCode.NOT_FOUND)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure(f"{where}{error.strerror or error}")
    return None


def _from_client(error: BaseException) -> Failure | None:
    from api.client import ApiError, ServerUnavailable  # noqa: PLC0415  # imported already, the caller looked

    if isinstance(error, ServerUnavailable):
        return Failure(str(error), code=ExitCode.UNAVAILABLE)
    if not isinstance(error, ApiError):
        return None
    code = _CODE_OF_STATUS.get(error.status, ExitCode.UNAVAILABLE if error.status >= 500 else ExitCode.GENERAL)
    message = error.detail or error.reason
    return Failure(message, hint=_next_step(code, error.reason), code=code)


def _next_step(code: ExitCode, reason: str) -> str:
    """Return what to do where the server's own words, which name field and way out, leave something to say."""
    match code:
        case ExitCode.NOT_FOUND:
            return "'cco get instances' and 'cco get repositories' list what there is"
        case ExitCode.CONFLICT if reason == "StaleWrite":
            return "read it again with 'cco get' and repeat the change"
        case ExitCode.UNAVAILABLE:
            return "'cco status' tells which part does not answer"
        case ExitCode.DENIED:
            return "name the file with the server's token: --token-file or CCO_TOKEN_FILE"
        case _:
            return ""
