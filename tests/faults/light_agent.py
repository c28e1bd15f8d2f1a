"""A stand-in for the agent and Claude in a container of the real arm: starts at once and takes every prompt.

Speaks the agent's protocol over the mounted socket; everything around it (container, mounts, worktree, git) is real.
Runs inside the instance image, so it imports nothing but the standard library.
"""

import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RUN = Path("/run/cco")
PAUSE = 0.1


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    boot = secrets.token_hex(8)
    config = json.loads((RUN / "instance.json").read_text())
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(RUN / "controller.sock"))
                link.settimeout(PAUSE)
                talk(link, config, boot)
        except OSError:
            time.sleep(PAUSE)


def talk(link: socket.socket, config: dict[str, Any], boot: str) -> None:
    answered: list[dict[str, object]] = []
    said, last = "", 0.0
    buffer = b""
    while True:
        body = report(config, boot, answered)
        if (text := json.dumps(body)) != said or time.monotonic() - last >= config["heartbeat_seconds"]:
            said, last = text, time.monotonic()
            link.sendall(json.dumps({**body, "sent_at": now()}).encode() + b"\n")
        try:
            data = link.recv(65536)
        except TimeoutError:
            continue
        if not data:
            return
        *lines, buffer = (buffer + data).split(b"\n")
        for message in map(json.loads, lines):
            if message["type"] == "input" and message["id"] not in {each["id"] for each in answered}:
                answered.append({"id": message["id"], "state": "accepted", "reason": None, "at": now()})


def now() -> str:
    return datetime.now(UTC).isoformat()


def report(config: dict[str, Any], boot: str, answered: list[dict[str, object]]) -> dict[str, Any]:
    listed = subprocess.run(
        ["git", f"--git-dir={config['git_dir']}", "for-each-ref", "--format=%(objectname) %(refname)"],
        capture_output=True,
        check=False,
        timeout=30,
    )
    return {
        "type": "report",
        "schema": 1,
        "uid": config["uid"],
        "attempt": config["attempt"],
        "boot": boot,
        "seq": 1,
        "config_hash": config["config_hash"],
        "session": {"state": "idle", "since": START, "waiting_for": None, "session_id": config["session_id"]},
        "tmux": {"session": f"cc-orchestrator-{config['name']}", "clients": 0},
        "usage": {
            "cpu_percent": 1.0,
            "memory_bytes": 1 << 20,
            "memory_limit_bytes": 1 << 30,
            "pids": 2,
            "oom_kills": 0,
        },
        "last_activity": None,
        "refs_version": hashlib.sha256(listed.stdout).hexdigest()[:16],
        "inputs": answered,
        "credentials": "present",
    }


START = now()

if __name__ == "__main__":
    os.umask(0o077)
    main()
