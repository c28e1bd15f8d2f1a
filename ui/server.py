"""``python -m ui.server``: API and dashboard in one process, the only place that knows both.

Requests pass the API's gate first (host, origin, login), whoever answers them: the API's routes or the pages of
:mod:`ui.web`, which are mounted behind them and get their data from the API over HTTP like everybody else.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI
from nicegui import ui
from starlette.middleware.gzip import GZipMiddleware

from api.app import create_app
from api.client import Client
from api.controller_link import ControllerLink
from api.serving import Server, make_server
from api.tokens import load_or_create_token
from controller.errors import CcoError, Terminal
from controller.logs import configure_logging
from controller.settings import Settings, add_flags, load_settings
from controller.store import Store

from .listening import listen
from .own_server import own_client
from .web.app import ASSETS, Dashboard
from .web.policy import ContentPolicy

logger = logging.getLogger("ui.server")  # __name__ is __main__ here

NOISY = ("uvicorn", "nicegui", "engineio", "socketio", "multipart")
"""They say at INFO what is ours to say, and at DEBUG whole messages."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ui.server", description="The cc-orchestrator API and dashboard.")
    add_flags(parser)
    flags = vars(parser.parse_args(arguments))
    os.umask(0o077)
    try:
        settings = load_settings(**flags)
        configure_logging(settings.log_level)
        quieten_libraries()
        run(settings)
        gc.freeze()  # everything is closed; collecting what is left takes longer than stopping did
    except CcoError as error:
        print(f"server: {error.reason}: {error.message}", file=sys.stderr)  # noqa: T201 - the entry point's own words
        return 1
    return 0


def quieten_libraries() -> None:
    """Let the libraries say at WARNING and above what they have to say."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def run(settings: Settings) -> None:
    """Serve until a signal.

    Raises:
        CcoError: something it cannot start without is missing; the message says the way out.
    """
    drop_privileges(settings.state_dir)
    with prepared(settings) as server, listen(settings) as listener:
        # uvicorn stops at a signal and raises it again afterwards, for whoever handled it before: nobody needs to.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        logger.info("server started", extra={"cco_address": settings.url})
        server.run(sockets=[listener])
        logger.info("server stopped")


@contextlib.contextmanager
def prepared(settings: Settings) -> Iterator[Server]:
    """Open what is served and yield a server that is ready to run.

    Raises:
        CcoError: something it cannot start without is missing; the message says the way out.
    """
    token = load_or_create_token(settings)
    controller = ControllerLink(settings.controller_socket)
    with Store.open(settings.database) as store, own_client(settings, token) as client:
        yield compose(create_app(store, settings, token, controller, public={ASSETS}), client, settings)


def compose(app: FastAPI, client: Client, settings: Settings) -> Server:
    """Return a server for the API's application with the dashboard in it.

    Raises:
        Terminal: ``ListenRefused``.
    """
    server = make_server(app, settings)
    dashboard = Dashboard(client)
    dashboard.register()
    ui.run_with(app, **dashboard.run_options())
    # Around the gate: it sets a policy on every answer, pages need their own; and compression comes last of all.
    app.add_middleware(ContentPolicy)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    return server


def drop_privileges(state_dir: Path) -> None:
    """Become the state directory's owner, if we are root and it is not; nothing here needs more than that user.

    Raises:
        Terminal: ``PrivilegesKept``, ``ProgramUnreadable``.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = state_dir.stat()
    except FileNotFoundError:
        return  # it is made as root and stays root's
    if owner.st_uid == 0:
        return
    try:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
    except OSError as error:
        message = (
            f"cannot become the owner of {state_dir} (uid {owner.st_uid}): {error.strerror}; start it as that user"
        )
        raise Terminal("PrivilegesKept", message) from error
    for part in (os.__file__, __file__):
        if not os.access(part, os.R_OK):
            message = f"{part} is not readable for the owner of {state_dir} (uid {owner.st_uid}): install it elsewhere"
            raise Terminal("ProgramUnreadable", message)
    logger.info("privileges dropped", extra={"cco_uid": owner.st_uid, "cco_gid": owner.st_gid})


if __name__ == "__main__":
    sys.exit(main())
