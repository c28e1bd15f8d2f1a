"""Requests and who answers them. A family of requests is a module with a function that returns its routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from controller.errors import CcoError, NotFound

_PARAMETER = re.compile(r"\{([a-z]+)\}")
_VALUES = {"name": "[a-z0-9-]{1,40}"}
_VALUE = "[A-Za-z0-9._-]{1,128}"


class NotUnderstood(CcoError):
    """The request is not one that can be answered; ``status`` says in which way."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(status.name.title().replace("_", ""), message)
        self.status = status


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What was asked.

    Attributes:
        path: the values of the pattern's parameters.
        query: the first value of each.
        body: the JSON object that was sent, empty when there was none.
    """

    path: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)


Handler = Callable[[StreamRequest], object]
"""Returns text as bytes, or anything ``json`` can write; raises a CcoError for what it cannot do."""


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Attributes:
        pattern: a path such as ``/instances/{name}/plan``.
    """

    method: str
    pattern: str
    handler: Handler


class Routes:
    """Finds the route of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(re.compile(_PARAMETER.sub(_group, route.pattern)), route) for route in routes]

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """Return who answers, and the values in the path.

        Raises:
            NotFound: ``NotFound``, nobody answers on that path.
            NotUnderstood: ``MethodNotAllowed``.
        """
        allowed: list[str] = []
        for pattern, route in self._routes:
            if (match := pattern.fullmatch(path)) is None:
                continue
            if route.method == method:
                return route.handler, match.groupdict()
            allowed.append(route.method)
        if allowed:
            message = f"{method} {path}: only {', '.join(allowed)} is answered there"
            raise NotUnderstood(HTTPStatus.METHOD_NOT_ALLOWED, message)
        raise NotFound("NotFound", f"no such path: {path}")


def _group(parameter: re.Match[str]) -> str:
    name = parameter[1]
    return f"(?P<{name}>{_VALUES.get(name, _VALUE)})"
