"""``describe``: everything about one object on one page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from ui.cli.invocation import Invocation
from ui.cli.kinds import KindName, parse_targets
from ui.cli.options import complete_kind_then_names
from ui.cli.rendering.description import describe_instance, describe_repository


def describe(
    cli: Invocation,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="KIND NAME...", help="For example: instance web", autocompletion=complete_kind_then_names
        ),
    ],
) -> None:
    """Show everything about one object.

    Spec, workspace, container, session, usage, conditions, prompts and recent events of an instance; path, warnings,
    conditions and events of a repository.
    """
    out = cli.out
    with cli.client() as client:
        for number, target in enumerate(parse_targets(words)):
            now = datetime.now(UTC)
            if target.kind is KindName.INSTANCE:
                instance = client.get_instance(target.name)
                events, inputs = client.instance_events(target.name), client.list_inputs(target.name)
                lines = describe_instance(instance, events, inputs, out, now)
            else:
                repository = client.get_repository(target.name)
                lines = describe_repository(repository, client.repository_events(target.name), out, now)
            out.line(("\n\n" if number else "") + "\n".join(lines))
