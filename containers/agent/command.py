"""Claude's command line and environment, decided from the declaration and from what is in HOME.

`prepare` writes both into a file for `launch`, which becomes Claude in its tmux pane: an argument list of a prompt's
size does not go through tmux, and a credential must not be in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import conversation, credentials, files
from .config import InstanceConfig
from .places import Places

ARGUMENT_LIMIT = 100_000
"""Bytes; Linux refuses a single argument of 128 KiB (execve(2), MAX_ARG_STRLEN)."""


@dataclass(frozen=True, slots=True)
class Command:
    """How Claude is to be started.

    Attributes:
        argv: the whole argument list.
        session_id: the conversation it opens.
        first_prompt: a prompt on the command line is among the arguments.
        typed_prompt: the declared prompt when it is too long for an argument: to be typed once Claude is ready.
    """

    argv: tuple[str, ...]
    session_id: str
    first_prompt: bool = False
    typed_prompt: str | None = None


def build(
    config: InstanceConfig, notes: conversation.Notes, claude: Path, program: Sequence[str] = ("claude",)
) -> Command:
    """Decide the command line; looks at the transcripts and changes nothing."""
    known = conversation.transcript(claude, notes.newest) is not None
    argv = [*program, "--resume" if known else "--session-id", notes.newest]
    argv += ["--permission-mode", config.permission_mode]
    if config.model:
        argv += ["--model", config.model]
    argv += config.args
    prompt = config.prompt
    if prompt is None or known or notes.prompted or notes.newest != notes.declared:
        return Command(tuple(argv), notes.newest)
    if len(prompt.encode()) > ARGUMENT_LIMIT:
        return Command(tuple(argv), notes.newest, typed_prompt=prompt)
    return Command((*argv, "--", prompt), notes.newest, first_prompt=True)


def environment(config: InstanceConfig, places: Places) -> dict[str, str]:
    """What every process in the container gets on top of what the agent itself was given; nothing secret."""
    values = {
        **config.env,
        # One switch for titles, telemetry, updates, downloads: without it a network that drops packets delays the
        # start by ten seconds and the reaction to SIGTERM as well.
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CCO_AGENT_SOCKET": str(places.event_socket),
    }
    if config.base_url:
        values["ANTHROPIC_BASE_URL"] = config.base_url
    return values


def write_launch_file(places: Places, command: Command) -> None:
    """Leave for `launch` what it is to become.

    Raises:
        OSError: the scratch folder cannot be written.
    """
    spec = {
        "argv": list(command.argv),
        # Claude opens its editor on Ctrl+G; ours puts a prompt in, or hands over to a person's editor.
        "env": {"VISUAL": str(Path(__file__).with_name("editor.py"))},
        "env_files": credentials.environment_files(places.secrets),
    }
    files.replace_json(places.launch_file, spec)
