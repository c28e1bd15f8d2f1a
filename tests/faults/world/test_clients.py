"""Clients that are slow or dead, against the real server (scenario 30 of docs/faults.md)."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from faults.world.installation import World

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

DEAD_READERS, HALF_OPEN = 100, 500
GROWTH = 20 << 20
CHANGES = 300


def resident(pid: int) -> int:
    """Return the memory of a process, in bytes."""
    line = next(each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) << 10


def connect(world: World, request: bytes) -> socket.socket:
    """Open a connection, ask, and never read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", world.system.port))
    made.sendall(request)
    return made


def answer_times(world: World, count: int) -> list[float]:
    found = []
    with world.place.client() as client:
        for _ in range(count):
            began = time.monotonic()
            client.get_instance("watched")
            found.append(time.monotonic() - began)
    return sorted(found)


def test_clients_that_never_read_cost_little_and_hold_up_nobody(world: World) -> None:
    world.spawn("watched")
    world.until_ready("watched")
    world.commit("watched", "Add work")
    world.remember()
    server = world.place.processes["ui.server"].pid
    token = (world.system.state_dir / "token").read_text().strip()
    host = f"Host: 127.0.0.1:{world.system.port}"
    watch = f"GET /api/watch HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    half = f"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{host}\r\n{upgrade}".encode()
    calm = answer_times(world, 100)[95]
    seen: list[int] = []
    done = threading.Event()

    def look_on() -> None:
        with world.place.client() as client:
            seen.extend(each.resource_version for each in client.watch(kinds=["Instance"], stop=done))

    with ExitStack() as stack:
        onlooker = threading.Thread(target=look_on, daemon=True)
        onlooker.start()
        world.until(lambda: seen, "the healthy client sees something")
        before = resident(server)
        for request in (*[watch] * DEAD_READERS, *[half] * HALF_OPEN):
            stack.enter_context(connect(world, request))
        for number in range(CHANGES):
            world.patch("watched", prompt=f"{number} {'x' * 2000}")  # which restarts nothing
        last = world.get("watched").metadata.resource_version
        world.until(lambda: seen[-1] >= last, "the healthy client has seen the last change", timeout=20)
        assert resident(server) - before < GROWTH
        busy = answer_times(world, 100)[95]
        assert busy < 2 * calm + 0.05, f"{calm:.3f} s before, {busy:.3f} s with dead clients"
        done.set()
    world.until_ready("watched")
    world.verify()
    onlooker.join(20)
