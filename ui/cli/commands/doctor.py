"""``doctor``: is everything well, and if not, what is to be done? Works when nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.resources.check import Check, CheckStatus, Repair
from ui.cli.doctor.archive import refuse_existing
from ui.cli.doctor.bundle import Written, write_bundle
from ui.cli.doctor.mending import mend
from ui.cli.doctor.visit import Visit
from ui.cli.exit_codes import ExitCode
from ui.cli.invocation import Invocation
from ui.cli.options import Output, OutputOption
from ui.cli.rendering.checks import render_checks, render_repair, render_summary
from ui.cli.rendering.serial import to_json, to_yaml

Fix = Annotated[
    bool,
    typer.Option(
        "--fix",
        help="Mend what is safe: modes of private files, leftovers of dead programs, a missing network.",
    ),
]
BundleFile = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="FILE", help="Also write an archive (.tar.gz) for a bug report, without secrets or prompts."
    ),
]


def doctor(
    cli: Invocation, *, fix: Fix = False, bundle: BundleFile = None, output: OutputOption = Output.TABLE
) -> None:
    """Look at everything that has to work, and say what to do.

    Without --fix nothing is changed. Exit code 8 when a check fails; warnings do not count. docs/doctor.md explains
    each check.
    """
    if bundle is not None:
        refuse_existing(bundle)  # before anything is mended
    visit = Visit(cli)
    checks = visit.examine()
    repairs: tuple[Repair, ...] = ()
    if fix:
        repairs = mend(cli, visit, checks)
        if repairs:
            visit = Visit(cli)
            checks = visit.examine()
    written = write_bundle(cli, visit, checks, bundle) if bundle is not None else None
    if output in {Output.JSON, Output.YAML}:
        data = _data(checks, repairs if fix else None, written)
        cli.out.line(to_json(data) if output is Output.JSON else to_yaml(data))
    else:
        _print(cli, checks, repairs, written, fix=fix)
    if any(check.status is CheckStatus.FAIL for check in checks):
        raise typer.Exit(ExitCode.FAILED)


def _print(
    cli: Invocation, checks: Sequence[Check], repairs: Sequence[Repair], written: Written | None, *, fix: bool
) -> None:
    out = cli.out
    for repair in repairs:
        out.line(render_repair(repair, out))
    if fix and not repairs:
        out.line("nothing to fix")
    if fix:
        out.line()
    for line in render_checks(checks, out):
        out.line(line)
    out.line()
    out.line(render_summary(checks, out))
    fixable = [check.name for check in checks if check.fixable_by is not None]
    if fixable and not fix:
        out.line(f"'cco doctor --fix' mends: {', '.join(fixable)}")
    if written is not None:
        out.line(f"{written.path}: {written.sentence}")


def _data(checks: Sequence[Check], repairs: Sequence[Repair] | None, written: Written | None) -> dict[str, Any]:
    data: dict[str, Any] = {"checks": [check.model_dump(mode="json", exclude_none=True) for check in checks]}
    if repairs is not None:
        data["repairs"] = [repair.model_dump(mode="json") for repair in repairs]
    if written is not None:
        data["bundle"] = {"file": str(written.path), "parts": list(written.parts), "missing": dict(written.missing)}
    return data
