"""The report: everything the controller is told, as one JSON object (`controller/agents/report.py` reads it).

Level, not edge: each report is the whole current state, so a lost one is made good by the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from .board import View
from .config import InstanceConfig
from .disk import Disk
from .ledger import Acknowledgement
from .session import Session
from .usage import Usage

SCHEMA = 1


def build(
    config: InstanceConfig, *, boot: str, seq: int, now: float, session: Session, view: View, usage: Usage, disk: Disk
) -> dict[str, Any]:
    """One report."""
    return {
        "type": "report",
        "schema": SCHEMA,
        "uid": config.uid,
        "attempt": config.attempt,
        "boot": boot,
        "seq": seq,
        "sent_at": rfc3339(now),
        "config_hash": config.config_hash,
        "session": {
            "state": session.state,
            "since": rfc3339(session.since),
            "waiting_for": session.waiting_for,
            "tool": session.tool,
            "pid": session.pid,
            "session_id": session.session_id,
            "exit_status": session.exit_status,
            "exit_signal": session.exit_signal,
            "detail": session.detail,
        },
        "tmux": {"session": config.tmux_session, "clients": view.clients},
        "usage": {**asdict(usage), **asdict(disk)},
        "last_activity": rfc3339(session.last_activity) if session.last_activity is not None else None,
        "refs_version": view.refs_version,
        "inputs": _acknowledged(view.inputs),
        "credentials": "present" if view.credentials else "missing",
    }


def noteworthy(session: Session, view: View) -> tuple[object, ...]:
    """What must be told at once when it changes; the rest waits for the heartbeat."""
    said = (session.state, session.since, session.waiting_for, session.tool, session.pid, session.session_id)
    return (*said, session.exit_status, session.exit_signal, session.detail, view)


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as the wire has them, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _acknowledged(inputs: Sequence[Acknowledgement]) -> list[dict[str, Any]]:
    return [{"id": a.id, "state": a.state, "reason": a.reason, "at": rfc3339(a.at)} for a in inputs]
