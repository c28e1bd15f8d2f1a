"""Records what an engine that comes and goes tells of its containers: one list of events for each of its lives."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from support.deadline import eventually
from support.own_engine import OwnEngine

from .facts import UID
from .recorders import overlaps, starts

_PAUSE_SECONDS = 0.02
_SETTLE_SECONDS = 30
_HARMLESS = ("exec_", "top", "attach", "resize")


@dataclass
class _Life:
    """One connection to the engine: ``running`` before the first event, container to uid."""

    running: dict[str, str]
    events: list[dict[str, Any]] = field(default_factory=list)


class EngineRecording:
    """Follows the engine's events while the block runs; whatever happened since its start is told at a reconnection."""

    def __init__(self, engine: OwnEngine) -> None:
        self._engine = engine
        self._lives: list[_Life] = []
        self._began = datetime.now(UTC)
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._follow, name="engine-recording", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if (process := self._process) is not None:
            process.kill()
        self._thread.join(30)

    def _follow(self) -> None:
        seen: set[tuple[int, str, str]] = set()
        while not self._ended.wait(_PAUSE_SECONDS):
            began = max(self._engine.began, self._began)
            try:
                life = _Life(self._running_before(began))
            except (AssertionError, subprocess.TimeoutExpired):
                continue
            self._lives.append(life)
            since = f"{began.timestamp():.9f}"
            argv = ["docker", "events", "--since", since, "--format", "{{json .}}"]
            with subprocess.Popen(
                argv, env=self._engine.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as self._process:
                assert self._process.stdout is not None
                for line in self._process.stdout:
                    event = json.loads(line)
                    key = (event["timeNano"], event["Actor"]["ID"], event["Action"])
                    if key not in seen and not event["Action"].startswith(_HARMLESS):
                        seen.add(key)
                        life.events.append(event)

    def _running_before(self, began: datetime) -> dict[str, str]:
        """Return the containers that the engine found running when it began."""
        names = self._engine.docker("ps", "-q", "--no-trunc").split()
        found = json.loads(self._engine.docker("inspect", *names)) if names else []
        return {
            each["Id"]: each["Config"]["Labels"].get(UID, "")
            for each in found
            if datetime.fromisoformat(each["State"]["StartedAt"]) < began
        }

    def events(self) -> list[dict[str, Any]]:
        """Return all events of containers so far."""
        return [event for event in self._all() if event["Type"] == "container"]

    def _all(self) -> list[dict[str, Any]]:
        return [event for life in list(self._lives) for event in list(life.events)]

    def catch_up(self) -> None:
        """Wait until everything that happened so far is recorded."""
        fence = f"fence-{secrets.token_hex(6)}"
        self._engine.docker("volume", "create", fence)
        self._engine.docker("volume", "rm", fence)
        told = lambda: any(each["Actor"]["ID"] == fence for each in self._all())  # noqa: E731  # one look
        eventually(told, timeout=_SETTLE_SECONDS, what="the engine's events are read")

    def overlaps(self) -> list[str]:
        """Return the moments at which two containers of one uid ran."""
        return [each for life in self._lives for each in overlaps(life.running, life.events)]

    def starts(self) -> dict[str, list[float]]:
        """Return when containers of each uid were started, in seconds."""
        return starts(self.events())
