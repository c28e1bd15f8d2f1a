"""The agent's end of a link, the secrets behind the other end, and who is woken."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from controller.agents import AgentLinks
from controller.errors import Terminal

from .deadline import eventually
from .looks import UID, report

LONGEST_SECONDS = 10.0
KEY = {"ANTHROPIC_API_KEY": "sk-ant-secret"}
OTHER_KEY = {"ANTHROPIC_API_KEY": "sk-ant-another"}


class Peer:
    """The agent's end of a connection."""

    def __init__(self, directory: Path) -> None:
        folder = os.open(directory, os.O_PATH)  # as short as in a container, however deep the folder lies
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LONGEST_SECONDS)
        try:
            self.socket.connect(f"/proc/self/fd/{folder}/controller.sock")
        finally:
            os.close(folder)
        self.lines = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.socket.close()

    def says(self, text: bytes) -> None:
        self.socket.sendall(text + b"\n")

    def reports(self, state: str = "idle", **changes: Any) -> None:  # noqa: ANN401  # any field
        self.says(report(state, **changes).model_dump_json(by_alias=True).encode())

    def hears(self) -> dict[str, Any]:
        line = self.lines.readline()
        assert line, "the controller has closed the connection"
        message: dict[str, Any] = json.loads(line)
        return message

    def is_cut_off(self) -> bool:
        try:
            return self.lines.readline() == b""
        except ConnectionError:
            return True


class Secrets:
    """Credentials that a test changes."""

    def __init__(self) -> None:
        self.values: Mapping[str, str] = KEY
        self.error: Terminal | None = None

    def read(self) -> Mapping[str, str]:
        if self.error is not None:
            raise self.error
        return self.values


class Woken:
    """Whose pass was asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.changed = threading.Condition()

    def __call__(self, name: str) -> None:
        with self.changed:
            self.names.append(name)
            self.changed.notify_all()

    def times(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.names) >= count, LONGEST_SECONDS)


def until(look: Callable[[], object], what: str) -> None:
    eventually(look, timeout=LONGEST_SECONDS, what=what, pause=0.005)


def last_seq(links: AgentLinks) -> int:
    heard = links.heard(UID)
    return heard.report.seq if heard is not None else 0
