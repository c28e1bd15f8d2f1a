"""What the API cannot read from the store, because it needs the world. HTTP on the controller's own socket.

The API forwards to this socket after checking its caller (as the Kubernetes API does to a kubelet). The socket lies
in the state directory, which only its owner can enter, so there is no second authentication here.

::

    server.py      the socket, HTTP, and errors as problem documents
    routes.py      what a family of requests offers, and how one is found
    instances.py   plan, logs and attach of one instance
    snapshots.py   which snapshots there are, what is in one, bringing one back
    orphans.py     what belongs to nobody, and taking away what a person chose of it
    checks.py      the doctor's answers, and the one repair it can make
"""

from __future__ import annotations

from .routes import Route, StreamRequest
from .server import StreamServer

__all__ = ["Route", "StreamRequest", "StreamServer"]
