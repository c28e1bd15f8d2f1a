"""``python -m controller run``: take the lock, open the database, and keep the loop going until a signal.

What runs then is put together in ``application``; ``python -m controller rebuild`` is in ``rebuild``.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from .application import Application
from .credentials import Credentials
from .errors import CcoError, Retryable, Terminal
from .leadership import HEARTBEAT_SECONDS, STOP_IT, heartbeat, take, wait_for
from .logs import configure_logging
from .rebuild import rebuild
from .runtime.choice import Runtimes
from .settings import Settings, add_flags, load_settings
from .state_directory import prepare_state_directory
from .store import Store

logger = logging.getLogger(__name__)

_ENDING = threading.Lock()
_OWN_FLAGS = ("standby", "yes", "with_runtimes", "without", "installation")
"""The flags of the commands themselves; all others are settings."""


def run(
    settings: Settings,
    stop: threading.Event,
    *,
    standby: bool = False,
    way_out: str = STOP_IT,
    lost: Callable[[Terminal], object] | None = None,
) -> None:
    """Open what the controller works with and run it until ``stop`` is set.

    Args:
        settings: where everything is.
        stop: set from outside, to end.
        standby: wait for the controller that is there, and follow it when it dies or falls silent.
        way_out: what can be done where another controller is there and nobody stands by.
        lost: called from any thread when another controller has taken over; it must end this process, or at least
            everything it does, at once. Default: :func:`end_at_once`.

    Raises:
        CcoError: something it cannot start without is missing; the message says the way out.
    """
    lost = lost or end_at_once
    credentials = Credentials.from_environment()
    prepare_state_directory(settings)
    lease = settings.lease_seconds
    lock = wait_for(settings.state_dir, lease, stop) if standby else take(settings.state_dir, way_out)
    if lock is None:
        return
    try:
        with heartbeat(lock, lost, min(HEARTBEAT_SECONDS, lease / 10)):
            store = _claimed(settings.database, lock.holder, lost, stop)
            if store is None:
                return
            try:
                runtimes = Runtimes.from_settings(settings, store.installation_id)
                Application(settings, store, runtimes, credentials).run(stop)
            finally:
                store.close()
    finally:
        lock.release()


def _claimed(path: Path, holder: str, lost: Callable[[Terminal], object], stop: threading.Event) -> Store | None:
    """Return the store, claimed; what is only in the way for now is waited out. ``None`` when ``stop`` was set."""
    while True:
        try:
            store = Store.open(path)
            try:
                store.claim(holder, lost)
            except BaseException:
                store.close()
                raise
        except Retryable as error:
            logger.warning("database not ready: %s", error.message, extra={"cco_reason": error.reason})
            if stop.wait(error.delay or 1.0):
                return None
        else:
            return store


def end_at_once(error: Terminal) -> NoReturn:
    """Say why and end the process without any clean-up: what would be tidied up is somebody else's by now."""
    _ENDING.acquire()  # for good: several threads may find out at the same moment, and one line is enough
    try:
        print(f"controller: {error.reason}: {error.message}", file=sys.stderr, flush=True)  # noqa: T201  # see main
    finally:
        os._exit(1)


def stop_at_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set.

    Not from the handler itself: it may interrupt this thread while it holds the event's own lock, and would then
    wait for itself for ever. A ``SimpleQueue`` may be put to from anywhere.
    """
    stop = threading.Event()
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def relay() -> None:
        arrived.get()
        stop.set()

    threading.Thread(target=relay, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda arrived_number, _: arrived.put(arrived_number))
    return stop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controller", description="The cc-orchestrator controller.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    runs = commands.add_parser("run", help="run the loop until SIGTERM or SIGINT")
    runs.add_argument("--standby", action="store_true", help="wait for the controller that is there, and follow it")
    rebuilds = commands.add_parser(
        "rebuild", help="put a lost or damaged database together again from what stands beside it; says what first"
    )
    rebuilds.add_argument("--yes", action="store_true", help="do it")
    rebuilds.add_argument(
        "--without-runtimes", dest="with_runtimes", action="store_false", help="go by the files alone"
    )
    rebuilds.add_argument(
        "--without-runtime",
        dest="without",
        action="append",
        default=[],
        metavar="NAME",
        help="do not ask this runtime, for example docker where there is none (may be repeated)",
    )
    rebuilds.add_argument("--installation", metavar="ID", help="the installation's id, if no file tells it any more")
    for command in (runs, rebuilds):
        add_flags(command)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    flags = vars(_parser().parse_args(arguments))
    command = flags.pop("command")
    own = {key: flags.pop(key) for key in _OWN_FLAGS if key in flags}
    os.umask(0o077)
    stop = stop_at_signals()
    try:
        settings = load_settings(**flags)
        configure_logging(settings.log_level)
        if command == "rebuild":
            again = ["python", "-m", "controller", *(sys.argv[1:] if arguments is None else arguments), "--yes"]
            rebuild(settings, print, again=shlex.join(again), **own)
        else:
            run(settings, stop, way_out=f"{STOP_IT}, or wait for it with '--standby'", **own)
    except CcoError as error:
        print(f"controller: {error.reason}: {error.message}", file=sys.stderr)  # noqa: T201  # the entry point's own words
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
