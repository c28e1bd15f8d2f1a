"""Claude's session file, `~/.claude/sessions/PID.json`: read when it changed.

An internal of Claude Code 2.1, so everything in it may be absent. It is replaced or rewritten at every change of
state; looking at it costs a stat, twice a second.
"""

from __future__ import annotations

import json
from pathlib import Path

from .facts import FileStatus, read_session_file


class SessionFile:
    """The session file of one Claude process."""

    def __init__(self, claude: Path, pid: int) -> None:
        self._path = claude / "sessions" / f"{pid}.json"
        self._seen: tuple[int, int, int] | None = None
        self._last: FileStatus | None = None

    def changed(self, now: float) -> FileStatus | None:
        """What it says, if that is not what it said when asked before."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return None
            data = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # Gone, or half written: the next look is soon.
            return None
        self._seen = seen
        status = read_session_file(data, now) if isinstance(data, dict) else None
        if status is None or status == self._last:
            return None
        self._last = status
        return status
