"""What the OpenAPI document says about errors: every status a route can answer, always as a problem."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.wire import PROBLEM_JSON, Problem

_ALWAYS: Final = (400, 401, 403, 404, 405, 413, 422, 429, 500, 503, 507)
_SCHEMA: Final = {"schema": {"$ref": "#/components/schemas/Problem"}}
_METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})
OPEN: Final = frozenset({"/api/health", "/login"})

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """Return the error statuses of a route beyond those that any route may answer."""
    return {status: {"description": HTTPStatus(status).phrase, "model": Problem} for status in statuses}


class Documented(FastAPI):
    """An application whose ``openapi()`` tells the truth; ``state.auth`` has to be set before it is asked."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, made once."""
        if self.openapi_schema is None:
            schema = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            for path, operations in schema["paths"].items():
                for method, operation in operations.items():
                    if method in _METHODS:
                        _complete(path, operation)
            _complete_components(schema, self.state.auth.cookie_name)
            self.openapi_schema = schema
        return self.openapi_schema


def _complete(path: str, operation: dict[str, Any]) -> None:
    responses: dict[str, Any] = operation["responses"]
    for status in _ALWAYS:
        responses.setdefault(str(status), {"description": HTTPStatus(status).phrase})
    for code, response in responses.items():
        if code.isdecimal() and int(code) >= HTTPStatus.BAD_REQUEST:
            response["content"] = {PROBLEM_JSON: _SCHEMA}
    operation["responses"] = dict(sorted(responses.items()))
    operation["security"] = [] if path in OPEN else [{"token": []}, {"session": []}]


def _complete_components(schema: dict[str, Any], session_cookie: str) -> None:
    components: dict[str, Any] = schema.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    for generated in ("HTTPValidationError", "ValidationError"):
        schemas.pop(generated, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(_definitions(problem))
    schemas["Problem"] = problem
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "The file `token` of the state directory."},
        "session": {"type": "apiKey", "in": "cookie", "name": session_cookie, "description": "Made by POST /login."},
    }


def _definitions(schema: dict[str, Any]) -> Mapping[str, Any]:
    found: dict[str, Any] = schema.pop("$defs", {})
    return found
