"""``logs``: what the container of an instance printed (its agent's log; Claude itself is in the terminal)."""

from __future__ import annotations

from typing import Annotated

import typer

from ui.cli.invocation import Invocation
from ui.cli.options import NameArgument
from ui.cli.rendering.terminal import safe


def logs(
    cli: Invocation,
    name: NameArgument,
    *,
    tail: Annotated[int, typer.Option("--tail", min=1, max=10_000, help="How many lines, the newest.")] = 200,
) -> None:
    """Print what an instance's container wrote.

    On a terminal control characters are made visible; a pipe gets the bytes as they are.
    """
    with cli.client() as client:
        text = client.instance_logs(name, tail)
    out = cli.out
    if text:
        out.line((safe(text) if out.interactive else text).removesuffix("\n"))
    else:
        cli.err.line("nothing was printed yet", "dim")
