"""Requests over plain sockets: a load that costs less than what it measures; and a patient one for latencies.

``python -m bench.load PORT PATH TOKEN`` asks fifty times a second until its standard input ends, then prints the
milliseconds of each answer as JSON. It is a process of its own so that nothing else holds it up.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

CONNECTIONS = 8
PACE_SECONDS = 0.02


class Connection:
    """One kept-alive connection that asks for one path."""

    def __init__(self, port: int, path: str, token: str) -> None:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        self._request = head.encode()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> None:
        """Ask."""
        self._socket.sendall(self._request)

    def receive(self) -> bytes:
        """Return the answer's body.

        Raises:
            RuntimeError: it is not 200.
        """
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._some()
        head = data[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(data[:300].decode(errors="replace"))
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        parts = [data[end + 4 :]]
        missing = length - len(parts[0])
        while missing > 0:
            parts.append(self._some())
            missing -= len(parts[-1])
        return b"".join(parts)

    def _some(self) -> bytes:
        data = self._socket.recv(262144)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data

    def close(self) -> None:
        """End it."""
        self._socket.close()


def rate(port: int, path: str, token: str, seconds: float) -> float:
    """Return the answers a second to a few connections that ask again and again."""
    connections = [Connection(port, path, token) for _ in range(CONNECTIONS)]
    try:
        for each in connections:
            each.send()
        began, count = time.monotonic(), 0
        while (now := time.monotonic()) - began < seconds:
            for each in connections:
                each.receive()
                each.send()
            count += len(connections)
        for each in connections:
            each.receive()
        return count / (now - began)
    finally:
        for each in connections:
            each.close()


def main(port: str, path: str, token: str) -> None:
    """Ask at a steady pace; see the module's docstring."""
    connection = Connection(int(port), path, token)
    samples = []
    while not select.select([sys.stdin], [], [], PACE_SECONDS)[0]:
        began = time.perf_counter()
        connection.send()
        connection.receive()
        samples.append(1000 * (time.perf_counter() - began))
    sys.stdout.write(json.dumps(samples))


if __name__ == "__main__":
    main(*sys.argv[1:])
