#!/usr/bin/python3 -IS
"""Claude's external editor (Ctrl+G): puts the prompt being delivered into the input box, verbatim.

`delivery` leaves a prompt in the scratch folder and presses Ctrl+G. Claude runs this with the file that holds its
input box; whoever takes the prompt (a rename, so only one can) writes it there and tells the agent. Claude opens the
editor only where text can be entered, so a prompt cannot answer a permission dialog, and unlike a paste it keeps
tabs and comes without `<pasted_content>` around it.

With no prompt to deliver a person pressed Ctrl+G: their editor is started.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys

EDITORS = ("editor", "nano", "vim", "vi")
TIMEOUT = 1.0


def deliver(target: str, agent_socket: str) -> bool:
    """Write the waiting prompt, if there is one; returns whether there was."""
    pending = os.path.join(os.path.dirname(agent_socket), "prompt")  # noqa: PTH118, PTH120 - starts faster
    taken = f"{pending}.taken"
    if not os.path.basename(target).startswith("claude-prompt"):  # noqa: PTH119 - some other program's text
        return False
    try:
        os.rename(pending, taken)  # noqa: PTH104 - starts faster
    except OSError:
        return False
    with open(taken, "rb") as source, open(target, "wb") as box:  # noqa: PTH123 - starts faster
        shutil.copyfileobj(source, box)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(TIMEOUT)
            agent.connect(agent_socket)
            agent.sendall(b'{"cco_event": "prompt-taken", "pid": %d}' % os.getpid())
            agent.shutdown(socket.SHUT_WR)
            agent.recv(1)
    except OSError:
        pass  # The agent sees by itself that the prompt was taken.
    return True


def main(arguments: list[str]) -> None:
    """Deliver, or become a person's editor.

    Raises:
        SystemExit: there is no editor.
    """
    agent_socket = os.environ.get("CCO_AGENT_SOCKET", "/tmp/cco/agent.sock")  # noqa: S108 - closed to others
    if len(arguments) == 1 and deliver(arguments[0], agent_socket):
        return
    wanted = (os.environ.get("EDITOR", ""), *EDITORS)
    program = next((path for name in wanted if name and (path := shutil.which(name))), None)
    if program is None:
        sys.exit("no editor is installed in this container; set EDITOR")
    os.execv(program, [program, *arguments])  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
