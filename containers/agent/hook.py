#!/usr/bin/python3 -IS
"""Claude Code runs this for every hook: hand the event to the agent and say nothing.

It waits for the agent's answer, so Claude goes on only when the agent knows: what is on the screen never runs ahead
of the agent by more than a question. An agent that is gone or busy costs Claude a second at most, never a turn.
Managed settings (`containers/instance/managed-settings.json`) call it; `hooks` is the other end.
"""

from __future__ import annotations

import os
import socket
import sys

TIMEOUT = 1.0


def main() -> None:
    """Forward standard input."""
    event = sys.stdin.buffer.read()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(TIMEOUT)
            agent.connect(os.environ.get("CCO_AGENT_SOCKET", "/tmp/cco/agent.sock"))  # noqa: S108 - closed to others
            agent.sendall(event)
            agent.shutdown(socket.SHUT_WR)
            agent.recv(1)
    except OSError:
        pass  # A hook's failure would be shown to the person and help nobody.


if __name__ == "__main__":
    main()
