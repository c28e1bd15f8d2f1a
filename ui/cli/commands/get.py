"""``get`` and the ``list`` and ``get`` of the nouns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from api.client import Client
from controller.resources import Event, Instance, Kind, Repository
from ui.cli.invocation import Invocation
from ui.cli.kinds import KindName, parse_kind
from ui.cli.listing import (
    Listing,
    T,
    event_listing,
    instance_listing,
    print_list,
    print_one,
    repository_listing,
    watch_list,
)
from ui.cli.options import (
    NameArgument,
    Output,
    OutputOption,
    RepositoryFilter,
    RepositoryNameArgument,
    SelectorOption,
    WatchOption,
    complete_kind_then_names,
)

_KINDS = {KindName.INSTANCE: Kind.INSTANCE, KindName.REPOSITORY: Kind.REPOSITORY}


def get(
    cli: Invocation,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="instances, repositories or events; singular and short words are understood.",
            autocompletion=complete_kind_then_names,
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Only these.", autocompletion=complete_kind_then_names),
    ] = None,
    *,
    output: OutputOption = Output.TABLE,
    watch: WatchOption = False,
    selector: SelectorOption = None,
    repository: RepositoryFilter = None,
) -> None:
    """List objects of a kind, or show one.

    JSON and YAML have every field that is set; several objects come as a kind List, which apply reads again.
    """
    wide = output is Output.WIDE
    with cli.client() as client:
        match parse_kind(kind, events=True):
            case KindName.INSTANCE:
                instances = instance_listing(lambda: _instances(client, names, selector, repository), wide=wide)
                _print(cli, instances, output, watch=watch, one=len(names or ()) == 1)
            case KindName.REPOSITORY:
                repositories = repository_listing(lambda: _repositories(client, names, selector), wide=wide)
                _print(cli, repositories, output, watch=watch, one=len(names or ()) == 1)
            case KindName.EVENT:
                events = event_listing(lambda: _events(client, names))
                _print(cli, events, output, watch=watch, one=False)


def list_instances(
    cli: Invocation,
    *,
    output: OutputOption = Output.TABLE,
    watch: WatchOption = False,
    selector: SelectorOption = None,
    repository: RepositoryFilter = None,
) -> None:
    """List instances."""
    get(cli, "instances", output=output, watch=watch, selector=selector, repository=repository)


def get_instance(
    cli: Invocation, name: NameArgument, *, output: OutputOption = Output.TABLE, watch: WatchOption = False
) -> None:
    """Show one instance."""
    get(cli, "instances", [name], output=output, watch=watch)


def list_repositories(
    cli: Invocation,
    *,
    output: OutputOption = Output.TABLE,
    watch: WatchOption = False,
    selector: SelectorOption = None,
) -> None:
    """List registered repositories."""
    get(cli, "repositories", output=output, watch=watch, selector=selector)


def get_repository(
    cli: Invocation, name: RepositoryNameArgument, *, output: OutputOption = Output.TABLE, watch: WatchOption = False
) -> None:
    """Show one repository."""
    get(cli, "repositories", [name], output=output, watch=watch)


def _print(cli: Invocation, listing: Listing[T], output: Output, *, watch: bool, one: bool) -> None:
    if watch:
        watch_list(cli, listing, output)
    elif one:
        print_one(cli, listing, listing.read()[0], output)
    else:
        print_list(cli, listing, output)


def _instances(
    client: Client, names: Sequence[str] | None, selector: str | None, repository: str | None
) -> list[Instance]:
    if not names:
        return client.list_instances(selector, repository)
    return _each(names, client.get_instance)


def _repositories(client: Client, names: Sequence[str] | None, selector: str | None) -> list[Repository]:
    return _each(names, client.get_repository) if names else client.list_repositories(selector)


def _events(client: Client, names: Sequence[str] | None) -> list[Event]:
    events = client.events()
    return [event for event in events if not names or event.name in names]


def _each(names: Sequence[str], read: Callable[[str], T]) -> list[T]:
    return [read(name) for name in names]
