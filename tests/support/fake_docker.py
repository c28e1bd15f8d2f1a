"""A ``docker`` command that answers from files: for command lines that look at it where no engine is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SCRIPT = """#!/bin/sh
here=$(dirname "$0")
answer() { cat "$here/answers/$1" 2>/dev/null; }
case "$1 $2" in
  "version "*) answer version; [ ! -e "$here/answers/away" ] || { cat "$here/answers/away" >&2; exit 1; } ;;
  "compose version") answer compose ;;
  "buildx version") answer buildx ;;
  "info "*) answer info; [ ! -e "$here/answers/away" ] || { cat "$here/answers/away" >&2; exit 1; } ;;
  "ps "*) answer ids ;;
  "inspect "*) answer inspect ;;
  "logs "*) answer logs; answer logs.err >&2 ;;
  *) echo "no such command" >&2; exit 1 ;;
esac
"""


class FakeDocker:
    """Lies in ``folder``, which belongs on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._answers = folder / "answers"
        self._answers.mkdir(parents=True)
        script = folder / "docker"
        script.write_text(_SCRIPT)
        script.chmod(0o755)
        self.answer("version", json.dumps({"Client": {"Version": "28.0.1"}, "Server": {"Version": "28.0.1"}}))
        self.answer("compose", "2.26.1\n")
        self.answer("buildx", "github.com/docker/buildx v0.13.1 abcdef\n")
        self.answer("info", json.dumps({"Driver": "overlay2"}))

    def answer(self, to: str, text: str) -> None:
        """Say this to ``version``, ``compose``, ``buildx``, ``info``, ``logs`` or (on standard error) ``logs.err``."""
        (self._answers / to).write_text(text)

    def go_away(self) -> None:
        """Let no engine answer."""
        self.answer("version", json.dumps({"Client": {"Version": "28.0.1"}, "Server": None}))
        self.answer("info", json.dumps({"ServerErrors": ["away"]}))
        self.answer("away", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n")

    def contain(self, containers: Sequence[dict[str, Any]]) -> None:
        """Have these containers."""
        self.answer("ids", "\n".join(each["Id"] for each in containers))
        self.answer("inspect", json.dumps(containers))
