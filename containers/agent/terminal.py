"""tmux, through libtmux: the session people attach to, with Claude as a pane's own process.

The only module that imports libtmux. Every call starts a tmux client and blocks for some milliseconds, so
`supervisor` calls it in a thread, and nothing here is called on a timer.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

import libtmux
from libtmux.exc import LibTmuxException

from .layouts import CLAUDE, Layout

logger = logging.getLogger(__name__)

WIDTH = 200
HEIGHT = 50
_CONFIG = Path(__file__).with_name("tmux.conf")
_LAUNCH = Path(__file__).with_name("launch.py")


class TerminalError(Exception):
    """tmux refused something; the message holds its words."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How Claude's process ended, as far as tmux could tell; exactly one of the two, or neither."""

    status: int | None = None
    signal: int | None = None


class Terminal:
    """One tmux session on the user's default socket.

    Args:
        session: the session's name.

    Attributes:
        socket: path of the tmux server's socket, once it runs.
        tty: path of the terminal of Claude's pane, once it runs.
    """

    def __init__(self, session: str) -> None:
        self.session = session
        self._server = libtmux.Server(config_file=str(_CONFIG))
        self._pane = f"={session}:{CLAUDE}"
        self.socket = ""
        self.tty = ""

    def start(self, layout: Layout, workdir: Path, launch_file: Path) -> int:
        """Make the session; returns the process id of Claude's pane.

        A session of that name from before is removed first: in a container there is none.

        Raises:
            TerminalError: tmux cannot start, or the working directory is not there.
        """
        launch = [_python(), "-I", "-S", str(_LAUNCH), str(launch_file)]
        # By itself, so that the server is a plain `tmux` in a list of processes.
        self._tmux("start-server")
        try:
            session = self._server.new_session(
                session_name=self.session,
                kill_session=True,
                attach=False,
                start_directory=str(workdir),
                window_name=CLAUDE,
                # tmux hands this to a shell; exec makes the process the pane's own.
                window_command=f"exec {shlex.join(launch)}",
                x=WIDTH,
                y=HEIGHT,
            )
            for name in layout.shells:
                session.new_window(window_name=name, start_directory=str(workdir), attach=False)
        except LibTmuxException as error:
            raise TerminalError(f"tmux could not make the session {self.session}: {error}") from None
        # From here on only Claude's pane stays when its program ends; a shell's window goes with its shell.
        keep = ["set-option", "-w", "-t", self._pane, "remain-on-exit", "on"]
        self._tmux(*keep, ";", "set-option", "-g", "remain-on-exit", "off")
        (answer,) = self._tmux("display-message", "-p", "-t", self._pane, "#{pane_pid} #{pane_tty} #{socket_path}")
        pid, self.tty, self.socket = answer.split(" ", 2)
        return int(pid)

    def press(self, *keys: str) -> None:
        """Press keys in Claude's pane, by their tmux names.

        Raises:
            TerminalError: the pane is gone.
        """
        self._tmux("send-keys", "-t", self._pane, *keys)

    def reads_keys(self) -> bool:
        """Whether the program in Claude's pane reads key by key; a terminal that cannot be looked at counts as such.

        Claude gives that up while its editor runs. An Enter that comes before it has it again is no Enter: the
        terminal makes a line feed of it, and Claude puts that into its input box and the tabs there into blanks.
        """
        try:
            descriptor = os.open(self.tty, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            local_modes: int = termios.tcgetattr(descriptor)[3]
        except termios.error:
            return True
        finally:
            os.close(descriptor)
        return not local_modes & termios.ICANON

    def screen(self) -> str:
        """What is on Claude's screen and was shortly before, for a person when something did not go as expected.

        Raises:
            TerminalError: the pane is gone.
        """
        return "\n".join(self._tmux("capture-pane", "-p", "-S", "-100", "-t", self._pane))

    def clients(self) -> int:
        """How many terminals are attached to the session; 0 when it is gone."""
        try:
            return len(self._tmux("list-clients", "-t", f"={self.session}", "-F", "#{client_name}"))
        except TerminalError:
            return 0

    def ending(self) -> Ending | None:
        """How Claude's process ended; ``None`` while tmux has not noticed.

        Raises:
            TerminalError: the session is gone, so nobody knows.
        """
        words = "#{pane_dead} #{pane_dead_status}/#{pane_dead_signal}"
        (answer,) = self._tmux("display-message", "-p", "-t", self._pane, words)
        dead, _, how = answer.partition(" ")
        status, _, signal = how.partition("/")
        if dead == "1" and not (status or signal):
            # tmux can miss that a child ended quickly; the end of another one makes it look again.
            self._tmux("run-shell", "true")
        if dead != "1" or not (status or signal):
            return None
        return Ending(signal=int(signal)) if signal else Ending(status=int(status))

    def kill(self) -> None:
        """End the tmux server and everything in it; idempotent."""
        self._server.cmd("kill-server")

    def _tmux(self, *arguments: str) -> list[str]:
        result = self._server.cmd(*arguments)
        if result.returncode != 0 or result.stderr:
            raise TerminalError(" ".join(result.stderr) or f"tmux {arguments[0]} failed")
        return list(result.stdout)


def _python() -> str:
    # Not sys.executable: in a virtual environment that starts slower, and `launch` needs the standard library only.
    system = Path("/usr/bin/python3")
    return str(system) if system.exists() else sys.executable
