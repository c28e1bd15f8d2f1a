"""A client for the server of this machine's own configuration."""

from __future__ import annotations

import httpx

from api.client import Client
from controller.settings import Settings


def own_client(settings: Settings, token: str | None) -> Client:
    """Return a client for the server that the settings make, whatever ``CCO_SERVER`` names."""
    return Client(settings.url, token, transport=OwnServer(settings.allowed_hosts))


class OwnServer(httpx.BaseTransport):
    """The network, under a name the gate knows: the address we listen on need not be among ``allowed_hosts``."""

    def __init__(self, allowed_hosts: tuple[str, ...]) -> None:
        self._host = allowed_hosts[0] if allowed_hosts else ""
        self._network = httpx.HTTPTransport(limits=httpx.Limits(max_connections=64))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request."""
        if self._host:
            request.headers["Host"] = self._host
        return self._network.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._network.close()
