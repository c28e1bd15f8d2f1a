"""Parameters that several commands share, and the completion of names."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.client import Client, ClientError
from controller.errors import CcoError

from .failures import Failure
from .goals import parse_duration
from .invocation import Invocation
from .kinds import WORDS, KindName


class Output(StrEnum):
    """How results are written."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def complete_instance(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of instances for the shell; nothing when the server cannot be asked."""
    return _names(ctx, KindName.INSTANCE, incomplete)


def complete_repository(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of repositories for the shell."""
    return _names(ctx, KindName.REPOSITORY, incomplete)


def complete_kind_then_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return kinds for the first word and names of that kind for the others."""
    words: Iterable[str] = ctx.params.get("words") or ctx.params.get("names") or ()
    first = ctx.params.get("kind") or next(iter(words), None)
    if first in WORDS:
        return _names(ctx, WORDS[first], incomplete)
    return [kind for kind in ("instances", "repositories", "events") if kind.startswith(incomplete)]


def complete_target(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return ``KIND/NAME`` for the shell."""
    return [
        f"{kind}/{name}"
        for kind in (KindName.INSTANCE, KindName.REPOSITORY)
        for name in _names(ctx, kind, "")
        if f"{kind}/{name}".startswith(incomplete)
    ]


def _names(ctx: typer.Context, kind: KindName, incomplete: str) -> list[str]:
    obj = ctx.find_root().obj
    invocation = obj if isinstance(obj, Invocation) else Invocation()
    try:
        with invocation.client() as client:
            return [name for name in _list(client, kind) if name.startswith(incomplete)]
    except (ClientError, CcoError, Failure):
        return []


def _list(client: Client, kind: KindName) -> list[str]:
    if kind is KindName.INSTANCE:
        return [instance.metadata.name for instance in client.list_instances()]
    if kind is KindName.REPOSITORY:
        return [repository.metadata.name for repository in client.list_repositories()]
    return []


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How results are written.")]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Go on and show changes until Ctrl-C.")]
SelectorOption = Annotated[
    str | None,
    typer.Option("--selector", "-l", metavar="SELECTOR", help="Only objects with these labels: team=web,tier!=test"),
]
RepositoryFilter = Annotated[
    str | None,
    typer.Option(
        "--repository",
        "-r",
        metavar="NAME",
        help="Only instances of this repository.",
        autocompletion=complete_repository,
    ),
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The instance's name.", autocompletion=complete_instance)
]
NamesArgument = Annotated[
    list[str], typer.Argument(metavar="NAME", help="Names of instances.", autocompletion=complete_instance)
]
RepositoryNameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The repository's name.", autocompletion=complete_repository)
]
FilesOption = Annotated[
    list[str],
    typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="Manifests; '-' reads standard input. Repeatable."),
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is so, or return at once.")]


def timeout_option(default: str) -> object:
    """Return the annotation of ``--timeout``; the parameter's own default is in seconds and must say the same."""
    return typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=_seconds,
        show_default=default,
        help="How long to wait: 90s, 5m, 1h30m.",
    )


def read_text(path: Path) -> str:
    """Return a text file's content.

    Raises:
        Failure: it is not UTF-8.
        OSError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: is not UTF-8 text (byte {error.start})") from error


def _seconds(value: str | float) -> float:
    return parse_duration(value) if isinstance(value, str) else value
