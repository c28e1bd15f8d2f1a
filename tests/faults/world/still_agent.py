"""The least an instance can be: one report a second and nothing else, so that many fit on a small machine."""

import json
import signal
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

RUN = Path("/run/cco")


def now() -> str:
    return datetime.now(UTC).isoformat()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = json.loads((RUN / "instance.json").read_text())
    session = {"state": "idle", "since": now(), "waiting_for": None, "session_id": config["session_id"]}
    report = {
        "type": "report",
        "schema": 1,
        "uid": config["uid"],
        "attempt": config["attempt"],
        "boot": "still",
        "seq": 1,
        "config_hash": config["config_hash"],
        "session": session,
        "tmux": {"session": f"cc-orchestrator-{config['name']}", "clients": 0},
        "usage": {"cpu_percent": 0.0, "memory_bytes": 1, "memory_limit_bytes": 2, "pids": 1, "oom_kills": 0},
        "last_activity": None,
        "refs_version": None,
        "inputs": [],
        "credentials": "present",
    }
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(RUN / "controller.sock"))
                while True:
                    link.sendall(json.dumps({**report, "sent_at": now()}).encode() + b"\n")
                    time.sleep(config["heartbeat_seconds"])
        except OSError:
            time.sleep(0.5)


if __name__ == "__main__":
    main()
