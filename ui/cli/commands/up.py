"""``up``: the whole system in this terminal; the parts are put together in :mod:`ui.together`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.installed import require_system
from ui.cli.invocation import Invocation
from ui.cli.own_address import log_in, tell_of_address

if TYPE_CHECKING:
    from ui.together import Announcement


def up(
    cli: Invocation,
    *,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="Where instances run that name none: docker or process; default: docker where an engine answers.",
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the server, instead of the configured one.")] = None,
) -> None:
    """Run controller, API and dashboard in this terminal.

    Ctrl-C ends them; the instances keep running, and the next `cco up` finds them as they are. Without a Docker engine
    they are processes of this machine, which does not isolate them.
    """
    require_system()
    from controller.settings import load_settings  # noqa: PLC0415  # only now is it sure that there is a system
    from ui import together  # noqa: PLC0415  # same

    together.run(load_settings(runtime=runtime, port=port), lambda told: _announce(cli, told))


def _announce(cli: Invocation, told: Announcement) -> None:
    for notice in told.notices:
        cli.err.line(f"{cli.err.style('notice:', 'notice')} {notice}")
    way_in = log_in(cli, told.address)
    cli.err.line(f"cc-orchestrator runs at {told.address}/ (runtime {told.runtime}); log in with: {way_in}")
    tell_of_address(cli, told.address)
    cli.err.line("Ctrl-C ends it; instances keep running. To stop one as well: cco instance stop NAME")
