"""``cco up``: controller, API and dashboard in one process, for one machine and one person.

A composition root like :mod:`ui.server`, and the only other place that knows all parts. What Compose runs as two
services are here a thread with the loop and the main thread with the server; between them is nothing but the state
directory, exactly as between the two containers. The instances do not depend on this process.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from controller.__main__ import run as run_controller
from controller.credentials import NAMES, SECRETS_FILE_VARIABLE
from controller.errors import CcoError, Terminal, Unavailable
from controller.leadership import LOCK_NAME, take
from controller.logs import configure_logging
from controller.runtime.choice import Runtimes
from controller.settings import Settings
from controller.state_directory import prepare_state_directory

from . import background
from .listening import listen

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
"""How long an engine may take to say that it is there."""
LOOP_SECONDS = 60.0
"""How long the loop may take to begin, or to end what it is at."""
PAUSE_SECONDS = 0.01

NOT_ISOLATED = (
    "Instances run as processes of this machine and are NOT isolated: they run as you and can read and change "
    "whatever you can. Only your own repositories and prompts belong here; with a Docker engine each gets a container."
)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a person should know once everything runs."""

    address: str
    runtime: str
    notices: tuple[str, ...]


def choose_runtime(settings: Settings) -> Settings:
    """Return the settings with a runtime that works here, unless one was set: Docker where an engine answers."""
    if "runtime" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"runtime": "docker" if engine_answers(settings) else "process"})


def engine_answers(settings: Settings) -> bool:
    """Tell whether a Docker engine answers, within a few seconds; one that hangs does not."""
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if host.startswith("unix://"):
        return _pings(host.removeprefix("unix://"))
    answered = threading.Event()

    def ask() -> None:
        try:
            Runtimes.from_settings(settings.model_copy(update={"runtime": "docker"}), "").named("docker").image_id("-")
        except CcoError as error:
            logger.debug("no docker engine", extra={"cco_reason": error.message})
        else:
            answered.set()

    thread = threading.Thread(target=ask, name="engine-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


def _pings(path: str) -> bool:
    """Ask an engine on this machine (``GET /_ping`` of the Engine API)."""
    try:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.settimeout(PROBE_SECONDS)
            engine.connect(path)
            engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in engine.recv(100).split(b"\r\n")[0]
    except OSError as error:
        logger.debug("no docker engine", extra={"cco_reason": str(error)})
        return False


def run(settings: Settings, announce: Callable[[Announcement], object]) -> None:
    """Run everything until SIGINT or SIGTERM; must be called in the main thread.

    Args:
        settings: as for both programs; where no runtime is set, one that works here is chosen.
        announce: called once, when the server is about to answer.

    Raises:
        CcoError: something it cannot start without is missing, or the loop failed; the message says the way out.
    """
    os.umask(0o077)
    configure_logging(settings.log_level)
    _use_kept_credentials(settings)
    prepare_state_directory(settings)
    take(settings.state_dir).release()  # whoever is refused is told before anything that takes time
    stop = _Stop()
    with _listen(settings) as listener:  # and before anything happens that one who is refused would leave half done
        chosen = choose_runtime(settings)
        told = Announcement(chosen.url, chosen.runtime, _notices(chosen))
        _run(chosen, listener, stop, lambda: announce(told))


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings)
    except Terminal as error:
        ours = background.find(settings)
        if ours is None or ours.url != settings.url:
            raise
        message = f"{ours.url}/ is served by 'cco web start' (process {ours.pid}): end that with 'cco web stop'"
        raise Terminal(error.reason, message) from error


def _run(settings: Settings, listener: socket.socket, stop: _Stop, announce: Callable[[], object]) -> None:
    loop = _Loop(settings)
    loop.begin()
    try:
        # Slow imports, and the web framework begins to work at its import: only when the loop has begun.
        from . import server  # noqa: PLC0415  # see above

        server.quieten_libraries()
        with server.prepared(settings) as web:
            stop.server = loop.server = web
            if not stop.asked and loop.failure is None:
                announce()
                web.run(sockets=[listener])
    finally:
        loop.end()
        gc.freeze()  # everything is closed; collecting what is left takes longer than stopping did
    if loop.failure is not None:
        raise loop.failure


class _Stop:
    """Ends the server at SIGINT and SIGTERM, also before and after the time in which it looks after them itself."""

    def __init__(self) -> None:
        self.asked = False
        self.server: _Stoppable | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True
        if self.server is not None:
            self.server.should_exit = True


class _Stoppable(Protocol):
    """The one thing of uvicorn's server that is needed here."""

    should_exit: bool


class _Loop:
    """The controller in a thread of its own.

    Attributes:
        failure: what ended it, if it was not us.
        server: to be stopped when the loop fails: half a system helps nobody.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controller")
        self.failure: CcoError | None = None
        self.server: _Stoppable | None = None

    def begin(self) -> None:
        """Start it and wait until the state directory is ours.

        Raises:
            CcoError: somebody else has it, or it cannot be used.
        """
        self._thread.start()
        deadline = time.monotonic() + LOOP_SECONDS
        while not self._is_leader():
            self._thread.join(PAUSE_SECONDS)
            if self.failure is not None:
                raise self.failure
            if time.monotonic() > deadline:
                self.end()
                raise Unavailable("ControllerUnavailable", f"the controller did not begin within {LOOP_SECONDS:g} s")

    def end(self) -> None:
        """Stop it and wait for it; idempotent."""
        self._stop.set()
        self._thread.join(LOOP_SECONDS)

    def _is_leader(self) -> bool:
        try:
            return (self._settings.state_dir / LOCK_NAME).read_text().startswith(f"{os.getpid()} on ")
        except OSError:
            return False

    def _run(self) -> None:
        try:
            run_controller(self._settings, self._stop)
        except CcoError as error:
            self.failure = error
        except Exception as error:
            logger.exception("controller failed")
            self.failure = Terminal("InternalError", f"the controller failed: {type(error).__name__}: {error}")
        if self.server is not None:
            self.server.should_exit = True


def _use_kept_credentials(settings: Settings) -> None:
    """Use what ``make up`` kept, where nothing else is named."""
    kept = settings.state_dir / "secrets" / "claude.env"
    if SECRETS_FILE_VARIABLE not in os.environ and kept.is_file():
        os.environ[SECRETS_FILE_VARIABLE] = str(kept)


def _notices(settings: Settings) -> tuple[str, ...]:
    notices = [NOT_ISOLATED] if settings.runtime == "process" else []
    if not any(os.environ.get(name) for name in (*NAMES, SECRETS_FILE_VARIABLE)):
        notices.append(
            f"There is nothing for Claude Code to log in with, so instances will wait: set {NAMES[0]} or "
            f"{NAMES[1]} (a token from 'claude setup-token') and start again."
        )
    return tuple(notices)
