"""``gc``: what is ours and belongs to no instance; looking is free, removing has to be asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from api.client import Client
from controller.resources.orphan import Origin, Orphan, OrphanList, SweepReport, SweepResult, Swept
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.invocation import Invocation
from ui.cli.options import Output, OutputOption
from ui.cli.rendering.humanize import age, count
from ui.cli.rendering.serial import to_json, to_yaml
from ui.cli.rendering.table import Cell, Column, table
from ui.cli.rendering.terminal import safe

_COLUMNS = (
    Column("KIND"),
    Column("NAME", shrinks=True),
    Column("INSTANCE", shrinks=True),
    Column("AGE", right=True),
    Column("WHY"),
    Column("ACTION", wraps=True),
)
_WHY = {
    Origin.DELETED: "instance was deleted",
    Origin.UNKNOWN: "instance is not known",
    Origin.OLD_ATTEMPT: "earlier attempt",
    Origin.UNNAMED: "names no instance",
    Origin.UNUSED: "not used any more",
}
_STYLE = {SweepResult.REMOVED: "removed", SweepResult.KEPT: "notice", SweepResult.GONE: "dim"}


def gc(
    cli: Invocation,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove what is safe to remove, not only list it.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List, and with --yes remove, what is ours and belongs to no instance.

    Containers, HOMEs, networks, worktrees and private git directories. Without --yes nothing is changed. Work is saved
    before anything is removed: commits on their branch, uncommitted files as a snapshot ('cco snapshots list'). What
    cannot be saved stays, and so does what is running, is younger than an hour, or is not surely ours.

    Exit code 8 means that --yes had to leave something that the list had called safe.
    """
    with cli.client() as client:
        found = client.list_orphans()
        report = _sweep(client, found) if yes else None
    _print(cli, found, report, output)
    for place in (report or found).skipped:
        cli.err.line(safe(f"not looked at: {place.part}: {place.message}"), "notice")
    if report is not None and (left := [each for each in report.items if each.result is SweepResult.KEPT]):
        raise Failure(
            f"{count(len(left), 'orphan')} could not be removed: {safe(left[0].message)}",
            hint="what could not be saved is still where it was; 'cco gc' lists it again",
            code=ExitCode.FAILED,
        )


def _sweep(client: Client, found: OrphanList) -> SweepReport:
    """Remove what is safe, and exactly what was seen."""
    ids = tuple(each.id for each in found.items if each.safe)
    return client.sweep_orphans(ids) if ids else SweepReport(skipped=found.skipped)


def _print(cli: Invocation, found: OrphanList, report: SweepReport | None, output: Output) -> None:
    match output:
        case Output.JSON | Output.YAML:
            data = (found if report is None else report).model_dump(mode="json", exclude_none=True)
            cli.out.line(to_json(data) if output is Output.JSON else to_yaml(data))
        case Output.NAME:
            for each in found.items:
                cli.out.line(safe(f"{each.kind}/{each.name}"))
        case _ if not found.items:
            cli.err.line("No orphans: everything of ours belongs to an instance.", "dim")
        case _:
            _print_table(cli, found, report)


def _print_table(cli: Invocation, found: OrphanList, report: SweepReport | None) -> None:
    done = {} if report is None else {each.id: each for each in report.items}
    now = datetime.now(UTC)
    rows = [
        [
            each.kind.value,
            each.name,
            each.instance or "-",
            age(each.created_at, now),
            _WHY[each.origin],
            _outcome(done[each.id]) if each.id in done else _intention(each),
        ]
        for each in found.items
    ]
    cli.out.line("\n".join(table(_COLUMNS, rows, cli.out)))
    if report is not None:
        return
    removable = sum(each.safe for each in found.items)
    words = f"Nothing was removed: 'cco gc --yes' removes {removable} of these {len(found.items)}."
    cli.err.line(words if removable else "Nothing was removed, and nothing of this can be removed now.", "dim")
    if any(each.origin is Origin.UNKNOWN for each in found.items):
        cli.err.line(
            "Some belong to instances this database does not know. Was it lost, or put back from an older copy? Then "
            "put it together again before you remove anything: see docs/orphans.md.",
            "notice",
        )


def _intention(orphan: Orphan) -> Cell:
    if not orphan.safe:
        return Cell(f"keep: {orphan.message}", "notice")
    return Cell("save work, then remove" if orphan.unsaved else "remove", "removed")


def _outcome(swept: Swept) -> Cell:
    words = f"{swept.result}: {swept.message}" if swept.message else str(swept.result)
    return Cell(words, _STYLE[swept.result])
