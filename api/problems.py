"""Errors as RFC 9457 problem documents: every one names what is wrong and the way out, none shows a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from controller.errors import AlreadyExists, CcoError, NotFound, Retryable, StaleWrite, StoreError
from controller.store import RevisionGone

from .wire import PROBLEM_JSON, FieldError, Problem

MAX_VALUE_CHARACTERS: Final = 200
MAX_ERRORS: Final = 20

_REASONS: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.UNAUTHORIZED: "Unauthorized",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "MethodNotAllowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "BodyTooLarge",
    HTTPStatus.TOO_MANY_REQUESTS: "TooManyRequests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalError",
}

_STATUS_OF_REASON: Mapping[str, int] = {
    "DiskFull": HTTPStatus.INSUFFICIENT_STORAGE,
    "ControllerProblem": HTTPStatus.BAD_GATEWAY,
}


class Invalid(CcoError):
    """A request that is well-formed but asks for something that cannot be; 422 with the fields."""

    def __init__(self, *errors: FieldError, reason: str = "Invalid") -> None:
        super().__init__(reason, summary(errors))
        self.errors = errors


class Refused(CcoError):
    """A request refused with a status of its own."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.status = status


def summary(errors: Sequence[FieldError]) -> str:
    """Return one line for people: every field with what would be right."""
    return "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in errors)


def field_errors(items: Iterable[Any], prefix: tuple[str, ...] = ()) -> tuple[FieldError, ...]:
    """Return pydantic's errors in our form; values of environment variables are left out, they may be secret."""
    found = []
    for item in items:
        location = [str(part) for part in (*prefix, *item["loc"])]
        value = None if item["type"] == "missing" or {"env", "token"} & set(location) else _shortened(item["input"])
        found.append(FieldError(field=".".join(location), value=value, message=_message(item)))
    return tuple(found[:MAX_ERRORS])


def _message(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "there is no such field"
    if item["type"] == "missing":
        return "is required"
    message = str(item["msg"])
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _shortened(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= MAX_VALUE_CHARACTERS else f"{value[:MAX_VALUE_CHARACTERS]}…"
    return f"({type(value).__name__})"


def respond(
    status: int,
    reason: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the problem as a response."""
    problem = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, reason=reason, errors=tuple(errors)
    )
    # ASCII, because a value may hold half a surrogate pair, which no UTF-8 text can.
    body = json.dumps(problem.model_dump(mode="python"), allow_nan=True)
    return Response(body, status, headers=dict(headers or {}), media_type=PROBLEM_JSON)


def of_error(error: CcoError) -> Response:
    """Return what a caller is told about one of our own errors."""
    if isinstance(error, Invalid):
        return respond(HTTPStatus.UNPROCESSABLE_ENTITY, error.reason, error.message, error.errors)
    headers = {"Retry-After": str(max(1, round(error.delay or 1)))} if isinstance(error, Retryable) else {}
    return respond(_status(error), error.reason, error.message, headers=headers)


def _status(error: CcoError) -> int:
    if isinstance(error, Refused):
        return error.status
    if error.reason in _STATUS_OF_REASON:
        return _STATUS_OF_REASON[error.reason]
    if isinstance(error, NotFound):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, RevisionGone):
        return HTTPStatus.GONE
    if isinstance(error, AlreadyExists | StaleWrite | StoreError):
        return HTTPStatus.CONFLICT
    if isinstance(error, Retryable):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.INTERNAL_SERVER_ERROR


def invalid(error: ValidationError, *prefix: str) -> Invalid:
    """Return a model's validation error as one of a request, its fields below ``prefix``."""
    return Invalid(*field_errors(error.errors(include_url=False, include_context=False), prefix))


def install(app: FastAPI) -> None:
    """Answer every error of routes and routing with a problem."""
    app.add_exception_handler(CcoError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def _on_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, CcoError):
        raise error
    return of_error(error)


def _on_invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    items = [{**item, "loc": _request_location(item["loc"])} for item in error.errors()]
    if any(item["type"] == "json_invalid" for item in items):
        detail = "the body is not JSON: send a JSON object with Content-Type: application/json"
        return respond(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidJson", detail)
    errors = field_errors(items)
    return respond(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", summary(errors), errors)


def _request_location(location: Sequence[Any]) -> tuple[Any, ...]:
    """Drop the part that says where in the request a field is, except when there is nothing behind it."""
    return tuple(location[1:]) or tuple(location)


def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    reason = _REASONS.get(error.status_code, HTTPStatus(error.status_code).phrase.title().replace(" ", ""))
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {request.url.path}: see /docs for what there is"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        detail = f"{request.url.path} does not take {request.method}: use {allowed}"
    return respond(error.status_code, reason, detail, headers=error.headers)
