"""``web``: API and dashboard in the background, for who runs the controller in another way; see ``ui.background``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.installed import require_system
from ui.cli.invocation import Invocation
from ui.cli.options import Output, OutputOption
from ui.cli.own_address import log_in, tell_of_address
from ui.cli.rendering.humanize import age
from ui.cli.rendering.serial import to_json, to_yaml
from ui.cli.rendering.table import Cell, pairs

if TYPE_CHECKING:
    from api.client import Health
    from controller.settings import Settings
    from ui.background import Started

_ELSEWHERE = "by another program than 'cco web': 'cco up', Docker Compose, or 'python -m ui.server'"

PortOption = Annotated[int | None, typer.Option(help="Port of the server, instead of the configured one.")]


def start_web(cli: Invocation, *, port: PortOption = None) -> None:
    """Start API and dashboard in the background.

    They show and edit what is declared; a controller makes it so. `cco up` runs both in one terminal.
    """
    require_system()
    from controller.settings import load_settings  # noqa: PLC0415  # only now is it sure that there is a system
    from ui import background  # noqa: PLC0415  # same

    settings = load_settings(port=port)
    found = background.find(settings)
    if found is None and background.answer(settings) is not None:
        cli.out.line(f"{settings.url}/ is served already, {_ELSEWHERE}")
        return
    started = background.start(settings)
    word = "runs" if found is None else "runs already"
    cli.out.line(f"web {word} at {started.url}/ (process {started.pid}); log in with: {log_in(cli, started.url)}")
    tell_of_address(cli, started.url)
    health = background.answer(settings)
    if health is not None and health.controller.status != "ok":
        cli.err.line("no controller answers, so nothing that is declared happens: 'cco up' runs one, too", "notice")


def stop_web(cli: Invocation) -> None:
    """Stop API and dashboard in the background; instances keep running."""
    from ui import background  # noqa: PLC0415  # a client's modules are for commands that talk to a server

    settings = cli.settings
    stopped = background.stop(settings)
    if stopped is not None:
        cli.out.line(f"web stopped (process {stopped.pid})")
    elif background.answer(settings) is not None:
        raise Failure(
            f"{settings.url}/ is served {_ELSEWHERE}",
            hint="end it where it was started: Ctrl-C in its terminal, or 'docker compose stop server'",
            code=ExitCode.FAILED,
        )
    else:
        cli.out.line("web does not run")


def web_status(cli: Invocation, *, output: OutputOption = Output.TABLE) -> None:
    """Show whether API and dashboard are served, where, and by whom.

    Exit code 6 when nobody answers.
    """
    from ui import background  # noqa: PLC0415  # a client's modules are for commands that talk to a server

    settings = cli.settings
    found = background.find(settings)
    if found is not None:
        settings = settings.model_copy(update={"port": int(found.url.rsplit(":", 1)[1])})
    health = background.answer(settings)
    if output in {Output.JSON, Output.YAML}:
        data = {
            "url": settings.url,
            "answers": health is not None,
            "pid": None if found is None else found.pid,
            "log": None if found is None else str(background.log_file(settings)),
            "health": None if health is None else health.model_dump(mode="json"),
        }
        cli.out.line(to_json(data) if output is Output.JSON else to_yaml(data))
    else:
        cli.out.line("\n".join(pairs(_rows(settings, found, health), cli.out)))
    if health is None:
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _rows(settings: Settings, found: Started | None, health: Health | None) -> list[tuple[str, Cell | str]]:
    if health is None:
        answers = Cell("does not answer" if found else "does not run: 'cco web start', or 'cco up' for all", "bad")
    else:
        answers = Cell(f"ok at {settings.url}/", "good")
    rows: list[tuple[str, Cell | str]] = [("web", answers)]
    if found is not None:
        since = age(datetime.fromtimestamp(found.created, UTC), datetime.now(UTC))
        rows.append(("process", f"{found.pid}, started {since} ago"))
    elif health is not None:
        rows.append(("process", f"served {_ELSEWHERE}"))
    if health is not None:
        well = health.controller.status == "ok"
        detail = health.controller.detail or "ok"
        rows.append(("controller", Cell("ok" if well else detail, "good" if well else "bad")))
    return rows
