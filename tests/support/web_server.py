"""A server process as users have it, ``python -m ui.server``, on loopback, with a state directory of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from api.client import ApiError, Client, ServerUnavailable
from controller.store import Store

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0


@dataclass
class Server:
    """A running ``python -m ui.server``."""

    url: str
    state: Path
    token: str
    client: Client
    store: Store
    process: subprocess.Popen[bytes]
    log: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(directory: Path, port: int | None = None, **settings: str) -> Server:
    """Start a server on the state directory below ``directory`` and wait until it answers."""
    port = port or free_port()
    state = directory / "state"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CCO_", "NICEGUI_"))}
    environment |= {
        "CCO_STATE_DIR": str(state),
        "CCO_PORT": str(port),
        "CCO_CONFIG": str(directory / "none.yaml"),
        "CCO_MAX_INSTANCES": "0",
        "NICEGUI_STORAGE_PATH": str(directory / "nicegui"),
        **settings,
    }
    environment.pop("PYTEST_CURRENT_TEST", None)  # NiceGUI would think that it is under test itself
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ui.server"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    with Client(url) as probe:
        while True:
            try:
                probe.health()
                break
            except ApiError:
                break  # it answers, if only that it is known under other names
            except ServerUnavailable:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
    token = (state / "token").read_text().strip()
    return Server(url, state, token, Client(url, token), Store.open(state / "state.db"), process, log)


def stop_server(server: Server) -> float:
    """Ask the server to stop; return how long that took."""
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(10)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait(10)
        raise
    finally:
        server.client.close()
        server.store.close()
    return time.monotonic() - began
