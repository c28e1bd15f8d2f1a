"""How many people look at the tmux session, without starting tmux on a timer.

Everything that talks to the tmux server holds a connection to its socket, and the kernel lists those
(proc(5), /proc/net/unix). When their number changes, and only then, tmux is asked who they are.
"""

from __future__ import annotations

from pathlib import Path

_CONNECTED = "03"


def connections(socket: str, table: Path = Path("/proc/net/unix")) -> int:
    """Connections to a unix socket; 0 when the kernel does not tell."""
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    # Num RefCount Protocol Flags Type St Inode Path
    rows = (line.split(maxsplit=7) for line in lines)
    return sum(len(row) == 8 and row[7] == socket and row[5] == _CONNECTED for row in rows)
