"""The client's half of watching: read the stream, resume where it broke, say when something may be missing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from controller.resources import Event, Instance, Repository

from .transport import ApiError, ServerUnavailable, Transport
from .wire import Version, WatchEvent

HEARTBEAT_SECONDS: Final = 1.0
"""Asked of the server so that a set stop event is noticed soon, and a dead connection after three beats more."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Resync:
    """Changes may have been missed (or nothing is known yet): list again now; what changes later is yielded.

    Attributes:
        resource_version: watching goes on from here.
    """

    resource_version: int


@dataclass(frozen=True, slots=True)
class Message:
    """One event of an event stream; a comment is a message with ``event`` ``"comment"``."""

    event: str
    data: str
    id: str | None


def parse_instance(item: Mapping[str, Any]) -> Instance:
    """Return the resource inside an answer (which also says how to call its state)."""
    return Instance.model_validate({key: value for key, value in item.items() if key != "display"})


_PARSERS: Mapping[str, Callable[[Any], Instance | Repository | Event]] = {
    "Instance": parse_instance,
    "Repository": Repository.model_validate,
    "Event": Event.model_validate,
}


def follow(
    transport: Transport,
    resource_version: int | None,
    kinds: Collection[str] | None,
    stop: threading.Event | None,
) -> Iterator[WatchEvent | Resync]:
    """See :meth:`Client.watch`."""
    return _Follower(transport, kinds, stop or threading.Event()).run(resource_version)


class _Follower:
    """One watch over however many connections it takes.

    Attributes:
        position: everything up to this revision was yielded.
        pause: seconds before the next connection.
    """

    def __init__(self, transport: Transport, kinds: Collection[str] | None, stop: threading.Event) -> None:
        self._transport = transport
        self._kinds = kinds
        self._stop = stop
        self._connected = False
        self._position = 0
        self._pause = 0.0

    def run(self, resource_version: int | None) -> Iterator[WatchEvent | Resync]:
        """Yield until told to stop."""
        if resource_version is None:
            yield self._resync()
        else:
            self._position = resource_version
        while not self._stop.wait(self._pause):
            try:
                yield from self._read_stream()
            except ServerUnavailable:
                if not self._connected:
                    raise
                self._back_off()
            except ApiError as error:
                if error.status == httpx.codes.GONE:
                    yield self._resync()
                elif error.status < httpx.codes.INTERNAL_SERVER_ERROR:
                    raise
                self._back_off()

    def _read_stream(self) -> Iterator[WatchEvent | Resync]:
        for message in _messages(self._transport, self._position, self._kinds, self._stop):
            self._connected, self._pause = True, 0.0
            if message.event == "resync":
                yield self._resync()
                return
            if message.event == "change":
                yield _event(message.data)
            if message.id is not None:
                self._position = int(message.id)
        self._back_off()  # the server ended the stream in good order: it restarts

    def _resync(self) -> Resync:
        self._position = _now(self._transport)
        self._connected = True
        return Resync(self._position)

    def _back_off(self) -> None:
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))


def _now(transport: Transport) -> int:
    return Version.model_validate(transport.json("GET", "/api/version")).resource_version


def _event(data: str) -> WatchEvent:
    raw = json.loads(data)
    return WatchEvent(**raw | {"object": _PARSERS[raw["kind"]](raw["object"])})


def _messages(
    transport: Transport, position: int, kinds: Collection[str] | None, stop: threading.Event
) -> Iterator[Message]:
    params = {
        "resource_version": position,
        "kinds": ",".join(sorted(kinds)) if kinds is not None else None,
        "heartbeat": HEARTBEAT_SECONDS,
    }
    with transport.stream("/api/watch", params=params, read_timeout=4 * HEARTBEAT_SECONDS + 6) as response:
        for message in parse_stream(response.iter_text()):
            if stop.is_set():
                return
            yield message


def parse_stream(chunks: Iterator[str]) -> Iterator[Message]:
    """Split an event stream (https://html.spec.whatwg.org/multipage/server-sent-events.html) into messages.

    ``str.splitlines`` would not do: it also splits at U+2028 and the like, which JSON texts may contain.
    """
    event, identity = "message", None
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield Message(event, "\n".join(data), identity)
            event, data, identity = "message", [], None
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            yield Message("comment", value, None)
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            identity = value


def _lines(chunks: Iterator[str]) -> Iterator[str]:
    rest = ""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split("\n")
        for line in whole:
            yield line.removesuffix("\r")
