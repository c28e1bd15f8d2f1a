"""``why``: one sentence, from the conditions."""

from __future__ import annotations

from controller.resources.explain import explain
from ui.cli.invocation import Invocation
from ui.cli.options import NameArgument
from ui.cli.rendering.terminal import safe


def why(cli: Invocation, name: NameArgument) -> None:
    """Say in one sentence how an instance is and what to do."""
    with cli.client() as client:
        cli.out.line(safe(explain(client.get_instance(name))))
