"""Where the agent's files are. In a container the defaults hold; tests move everything into a temporary folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The folders the agent works in.

    Attributes:
        home: HOME of the container's user, a volume: conversations and the agent's own notes survive in it.
        run: mounted read-only by the controller: its socket and ``instance.json``.
        secrets: tmpfs owned by the container's user.
        scratch: made by the agent on tmpfs, closed to others: sockets and files that live as long as the container.
        system: where the cgroup file systems are mounted.
    """

    home: Path
    run: Path = Path("/run/cco")
    secrets: Path = Path("/run/secrets")
    scratch: Path = Path("/tmp/cco")  # noqa: S108 - made with mode 0700 and checked for its owner before use
    system: Path = Path("/sys/fs/cgroup")

    @property
    def controller_socket(self) -> Path:
        """Where the controller listens."""
        return self.run / "controller.sock"

    @property
    def instance_file(self) -> Path:
        """What to run."""
        return self.run / "instance.json"

    @property
    def event_socket(self) -> Path:
        """Where the agent listens for hooks and for the editor."""
        return self.scratch / "agent.sock"

    @property
    def pending_prompt(self) -> Path:
        """The prompt that the editor puts into Claude's input box; exists only while one is being delivered."""
        return self.scratch / "prompt"

    @property
    def launch_file(self) -> Path:
        """Claude's argv and environment, for `launch`."""
        return self.scratch / "launch.json"

    @property
    def notes(self) -> Path:
        """The agent's own notes in HOME."""
        return self.home / ".cco"

    @property
    def claude(self) -> Path:
        """Claude Code's folder in HOME."""
        return self.home / ".claude"

    @property
    def claude_json(self) -> Path:
        """Claude Code's own state file."""
        return self.home / ".claude.json"

    def prepare(self) -> None:
        """Make the folders the agent owns; idempotent.

        Raises:
            OSError: a folder cannot be made, or the scratch folder belongs to somebody else.
        """
        self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Fails if another user made it first, which in a shared /tmp would be an attack.
        self.scratch.chmod(0o700)
        for folder in (self.notes, self.claude):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
