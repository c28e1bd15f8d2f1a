"""``events``: what happened, and what happens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from api.client import Client, Resync
from controller.resources import Event, EventType, Kind
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.invocation import Invocation
from ui.cli.kinds import KindName, Target, parse_target
from ui.cli.listing import event_listing, print_list
from ui.cli.options import Output, OutputOption, WatchOption, complete_target
from ui.cli.rendering.columns import EVENT_COLUMNS, event_row
from ui.cli.rendering.serial import as_data, to_json, to_yaml
from ui.cli.rendering.table import Cell, Column, table
from ui.cli.waiting import Changes, look

_IDLE_SECONDS = 60.0
_STREAM_COLUMNS = (Column("TIME"), *EVENT_COLUMNS[1:])


def events(
    cli: Invocation,
    *,
    target: Annotated[
        str | None,
        typer.Option("--for", metavar="KIND/NAME", help="Only events of this object.", autocompletion=complete_target),
    ] = None,
    warnings: Annotated[bool, typer.Option("--warnings", help="Only warnings.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most, the newest.")] = 100,
    watch: WatchOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what happened.

    Equal events in a row are one line with a count. With --watch new ones follow as they happen.
    """
    about = parse_target(target) if target is not None else None
    wanted = _Wanted(about, warnings=warnings, limit=limit)
    with cli.client() as client:
        if about is not None:
            _check(client, about)
        if watch:
            _follow(cli, client, wanted, output)
        else:
            print_list(cli, event_listing(lambda: wanted.read(client)), output)


def _check(client: Client, target: Target) -> None:
    """Refuse a name that nothing has or had: events outlive their object for a while."""
    if look(client, target) is None and not client.events(kind=_KIND[target.kind], name=target.name, limit=1):
        raise Failure(
            f"there is no {target}, and no event of one", hint=f"cco get {target.kind}", code=ExitCode.NOT_FOUND
        )


class _Wanted:
    """Which events are shown."""

    def __init__(self, target: Target | None, *, warnings: bool, limit: int) -> None:
        self._kind = None if target is None else _KIND[target.kind]
        self._name = None if target is None else target.name
        self._warnings = warnings
        self._limit = limit

    def read(self, client: Client, after: int | None = None) -> list[Event]:
        found = client.events(kind=self._kind, name=self._name, after=after)
        return [event for event in found if self.matches(event)][-self._limit :]

    def matches(self, event: Event) -> bool:
        return (
            (self._kind is None or event.kind is self._kind)
            and (self._name is None or event.name == self._name)
            and (not self._warnings or event.type is EventType.WARNING)
        )


_KIND = {KindName.INSTANCE: Kind.INSTANCE, KindName.REPOSITORY: Kind.REPOSITORY}


def _follow(cli: Invocation, client: Client, wanted: _Wanted, output: Output) -> None:
    newest = -1
    heading = True
    with Changes(cli.client, {"Event"}) as changes:
        while True:
            change = changes.next(_IDLE_SECONDS)
            if isinstance(change, Resync):
                fresh = wanted.read(client, newest if newest >= 0 else None)
            elif change is not None and isinstance(change.object, Event) and wanted.matches(change.object):
                fresh = [change.object]
            else:
                continue
            for event in fresh:
                if event.resource_version > newest:
                    newest = event.resource_version
                    _print(cli, event, output, heading=heading)
                    heading = False


def _print(cli: Invocation, event: Event, output: Output, *, heading: bool) -> None:
    out = cli.out
    match output:
        case Output.JSON:
            out.line(to_json(as_data(event), compact=True))
        case Output.YAML:
            out.line("---\n" + to_yaml(as_data(event)))
        case Output.NAME:
            out.line(f"{event.kind.lower()}/{event.name}")
        case _:
            local = event.last_at.astimezone()
            row: list[Cell | str] = [f"{local:%H:%M:%S}", *event_row(event, datetime.now(UTC))[1:]]
            out.line("\n".join(table(_STREAM_COLUMNS, [row], out, heading=heading)))
