"""Printing lists of objects, once or as they change."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from api.client import WatchKind
from controller.resources import Event, Instance, Repository

from .invocation import Invocation
from .options import Output
from .rendering.columns import EVENT_COLUMNS, Row, event_row, instance_table, repository_table
from .rendering.serial import Object, as_data, as_list, name_of, to_json, to_yaml
from .rendering.table import Column, table
from .rendering.terminal import Terminal
from .waiting import Changes

REFRESH_SECONDS = 10.0
GATHER_SECONDS = 0.15
"""Changes often come in bursts: so long is waited before the list is read again."""

T = TypeVar("T", bound=Object)


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list that can be read and printed.

    Attributes:
        kind: what to watch for changes.
        read: returns the list as it is now.
        empty: what to tell a person when there is nothing, with the way out.
    """

    kind: WatchKind
    read: Callable[[], Sequence[T]]
    columns: Sequence[Column]
    row: Callable[[T, datetime], Row]
    empty: str

    def lines(self, things: Sequence[T], terminal: Terminal, *, heading: bool = True) -> list[str]:
        """Return the table's lines."""
        now = datetime.now(UTC)
        return table(self.columns, [self.row(thing, now) for thing in things], terminal, heading=heading)


def print_list(cli: Invocation, listing: Listing[T], output: Output) -> None:
    """Print the list once."""
    things = listing.read()
    out = cli.out
    match output:
        case Output.JSON:
            out.line(to_json(as_list(things)))
        case Output.YAML:
            out.line(to_yaml(as_list(things)))
        case Output.NAME:
            for thing in things:
                out.line(name_of(thing))
        case _ if not things:
            cli.err.line(listing.empty, "dim")
        case _:
            out.line("\n".join(listing.lines(things, out)))


def print_one(cli: Invocation, listing: Listing[T], thing: T, output: Output) -> None:
    """Print one object; JSON and YAML without a list around it."""
    out = cli.out
    match output:
        case Output.JSON:
            out.line(to_json(as_data(thing)))
        case Output.YAML:
            out.line(to_yaml(as_data(thing)))
        case Output.NAME:
            out.line(name_of(thing))
        case _:
            out.line("\n".join(listing.lines([thing], out)))


def watch_list(cli: Invocation, listing: Listing[T], output: Output) -> None:
    """Print the list and what changes, until interrupted.

    A terminal gets one table that stays up to date; a pipe gets a line (or a document) for each object that is new
    or different, and for JSON also for each that went.
    """
    screen = output in {Output.TABLE, Output.WIDE} and cli.out.interactive
    with ExitStack() as stack:
        changes = stack.enter_context(Changes(cli.client, {listing.kind}))
        show = _on_screen(cli, listing, stack) if screen else _as_stream(cli, listing, output)
        while True:
            changes.drain()
            show(listing.read())
            if changes.next(REFRESH_SECONDS) is not None:
                time.sleep(GATHER_SECONDS)


def _on_screen(cli: Invocation, listing: Listing[T], stack: ExitStack) -> Callable[[Sequence[T]], None]:
    from rich.console import Console  # noqa: PLC0415  # only a terminal that watches needs it
    from rich.live import Live  # noqa: PLC0415  # as above
    from rich.text import Text  # noqa: PLC0415  # as above

    console = Console(file=cli.out.stream, no_color=not cli.out.color, highlight=False)
    live = stack.enter_context(Live(console=console, auto_refresh=False))

    def show(things: Sequence[T]) -> None:
        lines = listing.lines(things, cli.out) if things else [listing.empty]
        live.update(Text.from_ansi("\n".join(lines)), refresh=True)

    return show


def _as_stream(cli: Invocation, listing: Listing[T], output: Output) -> Callable[[Sequence[T]], None]:
    known: dict[str, str] = {}
    first = True

    def show(things: Sequence[T]) -> None:
        nonlocal first
        current = {name_of(thing): thing for thing in things}
        texts = {name: to_json(as_data(thing), compact=True) for name, thing in current.items()}
        for name, thing in current.items():
            if known.get(name) == texts[name]:
                continue
            if output is Output.JSON:
                kind = "MODIFIED" if name in known else "ADDED"
                cli.out.line(to_json({"type": kind, "object": as_data(thing)}, compact=True))
            elif output is Output.YAML:
                cli.out.line("---\n" + to_yaml(as_data(thing)))
            elif output is Output.NAME:
                cli.out.line(name)
            else:
                cli.out.line("\n".join(listing.lines([thing], cli.out, heading=first)))
                first = False
        for name in known.keys() - current.keys():
            if output is Output.JSON:
                cli.out.line(to_json({"type": "DELETED", "name": name}, compact=True))
        known.clear()
        known.update(texts)

    return show


def instance_listing(read: Callable[[], Sequence[Instance]], *, wide: bool = False) -> Listing[Instance]:
    """Return the listing of instances."""
    columns, row = instance_table(wide=wide)
    return Listing("Instance", read, columns, row, "No instances yet: 'cco instance spawn NAME' makes one.")


def repository_listing(read: Callable[[], Sequence[Repository]], *, wide: bool = False) -> Listing[Repository]:
    """Return the listing of repositories."""
    columns, row = repository_table(wide=wide)
    return Listing("Repository", read, columns, row, "No repositories yet: 'cco init' in one registers it.")


def event_listing(read: Callable[[], Sequence[Event]]) -> Listing[Event]:
    """Return the listing of events."""
    return Listing("Event", read, EVENT_COLUMNS, event_row, "No events.")
