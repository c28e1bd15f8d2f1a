"""The address that the server listens on. Quick to import: ``cco up`` takes it before it starts anything."""

from __future__ import annotations

import socket

from controller.errors import Terminal
from controller.settings import Settings


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on the address of the settings; who connects waits until it is served.

    Raises:
        Terminal: ``AddressUnusable``.
    """
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, settings.port), family=family, backlog=512)
    except OSError as error:
        raise Terminal(
            "AddressUnusable",
            f"cannot listen on {host}, port {settings.port}: {error.strerror}; set CCO_HOST to an address of this "
            "machine and CCO_PORT to a free port",
        ) from error
