"""The image of both arms: the product's, with a stand-in for Claude Code that is up at once.

Claude Code itself takes a second and 130 MiB to come up, the same for whoever starts it; it would only hide the
difference that is looked for. Everything else is real: the agent, tmux, the launcher, the session file that the agent
reads. Every container of the image carries the label by which a later run finds what an earlier one left.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import time
from pathlib import Path

BASE = "cc-orchestrator/instance:0.1.0"
IMAGE = "cc-orchestrator-bench/instance:1"
LABEL = "cco-bench"
ROUNDS = 4
PAUSE_SECONDS = 0.5

_CLAUDE = """#!/bin/sh
# Called as Claude Code is: --session-id ID ...
folder=$HOME/.claude/sessions
mkdir -p "$folder"
printf '{"pid":%d,"sessionId":"%s","status":"idle"}' "$$" "$2" >"$folder/$$.json"
exec sleep infinity
"""
_DOCKERFILE = f"""FROM {BASE}
COPY --chmod=755 claude /usr/local/bin/claude
LABEL {LABEL}=1 cco-test=1
"""


def _docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=300, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments[:2])}: {done.stderr.strip()}")
    return done.stdout


def build_image() -> str:
    """Build the image unless it is as it should be; returns its name."""
    base = _docker("image", "inspect", "--format", "{{.Id}}", BASE).strip()
    source = hashlib.sha256(f"{base}{_CLAUDE}{_DOCKERFILE}".encode()).hexdigest()[:16]
    label = '{{index .Config.Labels "cco-bench.source"}}'
    if _docker("image", "inspect", "--format", label, IMAGE, check=False).strip() != source:
        with tempfile.TemporaryDirectory(prefix="cco-bench-image-") as folder:
            (Path(folder) / "claude").write_text(_CLAUDE, encoding="utf-8")
            (Path(folder) / "Dockerfile").write_text(_DOCKERFILE, encoding="utf-8")
            _docker("build", "--quiet", "--label", f"cco-bench.source={source}", "--tag", IMAGE, folder)
    return IMAGE


def remove_leftovers(prefix: str) -> None:
    """Remove every container of the image, whoever made it, and the volumes and networks of that name's prefix.

    More than once where needed: the engine may be making one for somebody who has just been ended.
    """
    for _ in range(ROUNDS):
        left = [
            _remove(["ps", "-aq", "--filter", f"label={LABEL}=1"], ["rm", "-f", "-v"]),
            _remove(["volume", "ls", "-q", "--filter", f"name=^{prefix}"], ["volume", "rm", "-f"]),
            _remove(["network", "ls", "-q", "--filter", f"name=^{prefix}"], ["network", "rm"]),
        ]
        if not any(left):
            return
        time.sleep(PAUSE_SECONDS)


def _remove(listing: list[str], removing: list[str]) -> bool:
    """Remove what is listed; returns whether there was anything."""
    found = _docker(*listing).split()
    if found:
        _docker(*removing, *found, check=False)
    return bool(found)
