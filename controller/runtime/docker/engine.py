"""The connection to one Docker engine: deadlines on every call, and the engine's errors in our words.

``runtime.py`` and its neighbours call the engine only inside ``with engine.call("doing what") as client``. What
can come out of such a block is :class:`Refused` (the engine understood and said no), :class:`Failed` (it tried
and could not) or ``Unavailable`` (nobody answered, so nothing is known).
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env

from controller.errors import Terminal, Unavailable

logger = logging.getLogger(__name__)

FORBIDDEN = 403
GONE = 404
CONFLICT = 409
"""What the engine says no with; see :attr:`Refused.status`."""

# The slowest act is a start beside others on a busy machine (1.5 s was measured for 16 at once).
ACT_SECONDS = 30
# Whoever asks over the API waits 10 s, and has to be told what is wrong. Looks take milliseconds.
LOOK_SECONDS = 8
_POOL_SIZE = 32
# An event of a failed act comes at most so long after its answer.
_ECHO_SECONDS = 1.0
_DEFAULT_HOST = "unix:///var/run/docker.sock"


class Refused(Terminal):
    """The engine answered 4xx: what was asked for is wrong, gone, or in conflict with something.

    Attributes:
        status: the HTTP status.
        text: the engine's own words.
    """

    def __init__(self, doing: str, status: int, text: str) -> None:
        super().__init__("InvalidWorkload", f"the Docker engine refuses to {doing}: {text}")
        self.status = status
        self.text = text


class Failed(Unavailable):
    """The engine answered 5xx: it could not, and the state it left is unknown until looked at.

    Attributes:
        text: the engine's own words.
    """

    def __init__(self, doing: str, text: str) -> None:
        super().__init__("RuntimeFailed", f"the Docker engine could not {doing}: {text}")
        self.text = text


class Engine:
    """A lazily made connection, safe to share between threads.

    The first call connects and settles the API version; until an engine answered, every call tries again.
    """

    def __init__(self, client: docker.APIClient | None = None) -> None:
        self._looks = client
        self._acts = client
        self._connecting = threading.Lock()
        self._making: dict[str, float] = {}
        self._noting = threading.Lock()

    @contextmanager
    def making(self, uid: str) -> Iterator[None]:
        """Make a container of the uid inside the block; see :meth:`is_echo`."""
        with self._noting:
            now = time.monotonic()
            self._making = {each: until for each, until in self._making.items() if until > now} | {uid: math.inf}
        try:
            yield
        except BaseException:
            with self._noting:
                self._making[uid] = time.monotonic() + _ECHO_SECONDS
            raise
        with self._noting:
            self._making.pop(uid, None)

    def is_echo(self, uid: str) -> bool:
        """Tell whether the removal of a container of the uid, just told by an event, comes from our own failure.

        The engine says that it removes what it could not make. A pass that follows this hint tries again at once, and
        so on without a pause: 15 times a second on a full disk.
        """
        with self._noting:
            return self._making.get(uid, 0.0) > time.monotonic()

    def close(self) -> None:
        """Drop idle connections; the next call makes new ones."""
        for client in (self._looks, self._acts):
            if client is not None:
                client.close()

    def _connect(self, *, act: bool) -> docker.APIClient:
        with self._connecting:
            if self._looks is None:
                self._looks = docker.APIClient(
                    version="auto", timeout=LOOK_SECONDS, max_pool_size=_POOL_SIZE, **kwargs_from_env()
                )
                logger.info("connected to the docker engine", extra={"cco_api_version": self._looks.api_version})
            if not act:
                return self._looks
            if self._acts is None:
                version = self._looks.api_version
                self._acts = docker.APIClient(version=version, timeout=ACT_SECONDS, **kwargs_from_env())
                self._acts.headers["Connection"] = "close"
            return self._acts

    @contextmanager
    def call(self, doing: str, *, act: bool = False) -> Iterator[docker.APIClient]:
        """Yield the client for one step; ``doing`` completes the sentence "the engine could not ...".

        Args:
            doing: what for.
            act: it changes something. Acts may take longer than looks, and each goes over a connection of its own: an
                engine that shuts down takes no new ones before it ends the first container, but serves those it has
                to the end; over them, what it has just ended would be started again, to be ended once more.

        Raises:
            Refused: 4xx.
            Failed: 5xx.
            Unavailable: ``RuntimeUnavailable``, no answer within the deadline, or no connection.
        """
        try:
            yield self._connect(act=act)
        except APIError as error:
            raise _translate(error, doing) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, DockerException, OSError) as error:
            raise _unreachable(error, ACT_SECONDS if act else LOOK_SECONDS) from error

    def request(self, client: docker.APIClient, method: str, path: str, **options: Any) -> requests.Response:  # noqa: ANN401  # requests' own options
        """Send a request the library has no method for; errors are raised as it raises its own."""
        options.setdefault("timeout", client.timeout)
        response = client.request(method, f"{client.base_url}/v{client.api_version}{path}", **options)
        try:
            response.raise_for_status()
        except requests.HTTPError as error:
            raise docker.errors.create_api_error_from_http_exception(error) from error
        return response


def socket_of(response: requests.Response) -> socket.socket:
    """Return the socket under an answer that is still being received."""
    connection = response.raw.connection
    if connection is None or connection.sock is None:
        raise ConnectionResetError("the engine closed the connection")
    return cast("socket.socket", connection.sock)


def _translate(error: APIError, doing: str) -> Refused | Failed:
    text = str(error.explanation or error).strip()
    status = error.status_code or 500
    return Refused(doing, status, text) if status < 500 else Failed(doing, text)


def _unreachable(error: Exception, seconds: int) -> Unavailable:
    host = os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
    if isinstance(error, requests.Timeout | TimeoutError | urllib3.exceptions.ReadTimeoutError):
        cause, way_out = f"gave no answer within {seconds} s", "see its log"
    elif "PermissionError" in repr(error) or "Permission denied" in repr(error):
        cause, way_out = "is not open to this user", "join the group of its socket, or set DOCKER_HOST"
    else:
        cause, way_out = "does not answer", "start it, or set DOCKER_HOST to one that runs"
    return Unavailable("RuntimeUnavailable", f"the Docker engine at {host} {cause}: {way_out}; it is tried again")


Json = Mapping[str, Any]
"""An object as the engine sends it."""
