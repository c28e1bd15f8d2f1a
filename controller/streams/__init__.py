"""What the API cannot read from the store, because it needs the world. HTTP on the controller's own socket.

The API forwards to this socket after checking its caller (as the Kubernetes API does to a kubelet). The socket lies
in the state directory, which only its owner can enter, so there is no second authentication here.

::

    server.py      the socket, HTTP, and errors as problem documents
    routes.py      what a family of requests offers, and how one is found
    instances.py   plan, logs and attach of one instance
"""

from __future__ import annotations

from .routes import Route, StreamRequest
from .server import StreamServer

__all__ = ["Route", "StreamRequest", "StreamServer"]
