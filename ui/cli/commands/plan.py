"""``plan``: what the controller's next pass would do, as the controller itself computes it."""

from __future__ import annotations

from ui.cli.invocation import Invocation
from ui.cli.options import NameArgument, Output, OutputOption
from ui.cli.rendering.serial import to_json, to_yaml
from ui.cli.rendering.table import Column, table
from ui.cli.rendering.terminal import safe


def plan(cli: Invocation, name: NameArgument, output: OutputOption = Output.TABLE) -> None:
    """Show what the controller would do next for an instance.

    Nothing is changed. An empty plan means that the instance is as declared, or that something is in the way.
    """
    with cli.client() as client:
        answer = client.instance_plan(name)
    out = cli.out
    if output in {Output.JSON, Output.YAML}:
        data = answer.model_dump(mode="json", exclude_none=True)
        out.line(to_json(data) if output is Output.JSON else to_yaml(data))
        return
    if answer.actions:
        rows = [[str(number), step.action, step.reason] for number, step in enumerate(answer.actions, 1)]
        columns = [Column("STEP", right=True), Column("ACTION"), Column("REASON", wraps=True)]
        out.line("\n".join(table(columns, rows, out)))
    elif answer.blocked is None:
        out.line(f"{name} is as declared: nothing to do")
    if answer.blocked is not None:
        out.line(safe(f"held back ({answer.blocked.reason}): {answer.blocked.message}"), "notice")
    if answer.requeue_after is not None:
        out.line(f"next look in {answer.requeue_after:.0f} s, or when something changes", "dim")
