"""Puts an :class:`~.injector.Injector` between the product and a real Docker engine, for the real arm.

Everything the product asks of the engine goes through one ``requests`` session, ``docker.APIClient``; what the engine
tells by itself comes in through one subscription, ``controller.runtime.docker.events``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import docker
import requests

from controller.runtime.docker import events
from controller.runtime.protocol import Resync

from .injector import LISTING, Call, Injector, Mode, Seam

_VERSION = re.compile(r"/v\d+\.\d+")
_NAMED = re.compile(r"(?<=/)(containers|volumes|networks|images|exec)/(?!json|create|prune)[^/]+")
_PAGED = "/events"


@contextmanager
def docker_watched(injector: Injector) -> Iterator[None]:
    """Watch the engine's requests and events for the length of the block."""
    with (
        patch.object(docker.APIClient, "send", _send(injector)),
        patch.object(events, "_Subscription", _subscription(injector)),
    ):
        yield


def _send(injector: Injector) -> Callable[..., requests.Response]:
    send = docker.APIClient.send
    seen: dict[str, tuple[requests.Response | None, requests.Response]] = {}

    def watched(self: docker.APIClient, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401  # passed on
        path = _VERSION.sub("", request.path_url.partition("?")[0])
        if path == _PAGED:
            return send(self, request, **options)
        what = f"{request.method} {_NAMED.sub(_anonymous, path)}"
        call = Call(Seam.DOCKER, what, writes=request.method not in {"GET", "HEAD"})
        response, mode = injector.through(call, lambda: send(self, request, **options), _cut)
        return _older(seen, request.path_url, response, mode) if what == LISTING else response

    return watched


def _anonymous(match: re.Match[str]) -> str:
    return f"{match[1]}/ID"


def _cut() -> Exception:
    return requests.ConnectionError("a test cut the connection to the engine")


def _older(
    seen: dict[str, tuple[requests.Response | None, requests.Response]],
    url: str,
    response: requests.Response,
    mode: Mode | None,
) -> requests.Response:
    """Return the answer, or the one from before the last change of it."""
    before, latest = seen.get(url, (None, response))
    if latest.content != response.content:
        before, latest = latest, response
    seen[url] = (before, latest)
    if mode is not Mode.STALE:
        return response
    stale = copy.copy(response)
    stale._content = b"[]" if before is None else before.content  # noqa: SLF001  # there is no other way to make one
    return stale


def _subscription(injector: Injector) -> type[events._Subscription]:
    event = Call(Seam.EVENT, "event", writes=False)

    class Watched(events._Subscription):  # noqa: SLF001  # where events come in
        def __init__(self, engine: Any, installation: str, running: Any, tell: Callable[[str | Resync], None]) -> None:  # noqa: ANN401  # passed on
            def told(change: str | Resync) -> None:
                heard = isinstance(change, Resync) or injector.before(event) is not Mode.DROP
                if heard:
                    tell(change)

            super().__init__(engine, installation, running, told)

    return Watched
