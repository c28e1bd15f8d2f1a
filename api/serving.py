"""Running the application: uvicorn, with open watches ended before it waits for connections to close."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

from controller.settings import Settings

from .hub import Hub
from .tokens import check_listen

GRACE_SECONDS: Final = 1
"""Requests under way get so long at shutdown; open pages and watches are told to go before."""


class Server(uvicorn.Server):
    """Closes the hub first at shutdown: an event stream never ends by itself, and uvicorn would wait for it."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop within about a second."""
        self._hub.close()
        await super().shutdown(sockets)


def make_server(app: FastAPI, settings: Settings) -> Server:
    """Return a server for what :func:`~api.app.create_app` made; ``run()`` it in the main thread.

    Raises:
        Terminal: ``ListenRefused``.
    """
    check_listen(settings)
    config = uvicorn.Config(
        app,
        host=settings.host.strip("[]"),
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Server(config, app.state.hub)
