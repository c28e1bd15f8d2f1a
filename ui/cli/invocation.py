"""What one call of a command is given: where the server is, how to reach it, what to write to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .rendering.terminal import Terminal, standard_error, standard_output

if TYPE_CHECKING:
    from api.client import Client
    from controller.settings import Settings

Connect = Callable[["Invocation"], "Client"]


def connect(invocation: Invocation) -> Client:
    """Return a client for the server that flags, environment and configuration name, in this order."""
    from .connection import open_client  # noqa: PLC0415  # httpx is for commands that talk to a server

    return open_client(invocation)


@dataclass
class Invocation:
    """Made by the entry point, handed to every command as its first argument.

    Attributes:
        connect: how a client is made; tests put the real API in-process here.
        server: ``--server``, if given.
        token_file: ``--token-file``, if given.
        debug: an unforeseen error may show its traceback.
    """

    connect: Connect = field(default=connect)
    server: str | None = None
    token_file: Path | None = None
    no_color: bool = False
    debug: bool = False

    def client(self) -> Client:
        """Return a new client; it is a context manager."""
        return self.connect(self)

    @cached_property
    def settings(self) -> Settings:
        """The settings of this machine's user.

        Raises:
            Terminal: ``InvalidConfig``.
        """
        from controller.settings import load_settings  # noqa: PLC0415  # pydantic is for commands that need it

        return load_settings()

    @property
    def out(self) -> Terminal:
        """Where results go."""
        return standard_output(no_color=self.no_color)

    @property
    def err(self) -> Terminal:
        """Where warnings and progress go."""
        return standard_error(no_color=self.no_color)
