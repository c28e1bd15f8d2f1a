"""``apply`` and ``diff``: manifests against what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from api.client import ApiError, Applied, Client
from controller.resources import Instance, InstanceManifest, Repository
from ui.cli.achieving import achieve
from ui.cli.differences import diff_lines
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure, translate
from ui.cli.invocation import Invocation
from ui.cli.kinds import KindName, Target
from ui.cli.manifests import Manifest, load_manifests
from ui.cli.options import FilesOption, timeout_option
from ui.cli.rendering.terminal import safe
from ui.cli.waiting import look

_STYLES = {"created": "good", "configured": "notice", "unchanged": "dim"}


def apply(
    cli: Invocation,
    *,
    files: FilesOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check on the server and change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every instance is as declared.")] = False,
    timeout: Annotated[float, timeout_option("5m")] = 300.0,
) -> None:
    """Make the declared objects as the manifests say.

    Everything is read and checked before anything is changed; repositories come before instances. Applying the same
    manifests again changes nothing.
    """
    manifests = load_manifests(files)
    applied: list[Instance] = []
    failures: list[Failure] = []
    with cli.client() as client:
        for manifest in manifests:
            try:
                outcome = _apply(client, manifest, dry_run=dry_run)
            except ApiError as error:
                if dry_run and _is_new_repository(error, manifest, manifests):
                    cli.out.line(f"{_id(manifest)} would be created, after its repository")
                    continue
                failures.append(_explain(error, manifest))
                continue
            _print(cli, outcome, dry_run=dry_run)
            if isinstance(outcome.object, Instance):
                applied.append(outcome.object)
        for failure in failures[:-1]:
            cli.err.line(f"{cli.err.style('error:', 'bad')} {safe(failure.message)}")
        if failures:
            raise failures[-1]
        if wait and not dry_run:
            for instance in applied:
                achieve(cli, client, instance, timeout)
                cli.out.line(f"{_id(instance)} is as declared")


def diff(cli: Invocation, *, files: FilesOption) -> None:
    """Show what apply would change.

    Exit code 0: nothing; 1: there are differences; more: an error.
    """
    manifests = load_manifests(files)
    different = False
    with cli.client() as client:
        for manifest in manifests:
            before = look(client, _target(manifest))
            try:
                after = _apply(client, manifest, dry_run=True)
            except ApiError as error:
                if not _is_new_repository(error, manifest, manifests):
                    raise _explain(error, manifest) from error
                cli.out.line(f"{_id(manifest)} would be created, after its repository", "added")
                different = True
                continue
            lines = diff_lines(_id(manifest), before, after.object)
            different = different or bool(lines)
            for line, style in lines:
                cli.out.line(safe(line), style)
    if different:
        raise typer.Exit(ExitCode.GENERAL)


def _apply(client: Client, manifest: Manifest, *, dry_run: bool) -> Applied[Instance] | Applied[Repository]:
    if isinstance(manifest, InstanceManifest):
        return client.apply_instance(manifest, dry_run=dry_run)
    return client.apply_repository(manifest, dry_run=dry_run)


def _is_new_repository(error: ApiError, manifest: Manifest, manifests: Sequence[Manifest]) -> bool:
    """Tell whether the server only misses a repository that the same manifests would register first."""
    if not isinstance(manifest, InstanceManifest) or not any("spec.repository" in each.field for each in error.fields):
        return False
    return any(each.kind == "Repository" and each.metadata.name == manifest.spec.repository for each in manifests)


def _print(cli: Invocation, outcome: Applied[Instance] | Applied[Repository], *, dry_run: bool) -> None:
    fields = f" ({', '.join(outcome.changed_fields)})" if outcome.action == "configured" else ""
    action = cli.out.style(outcome.action, _STYLES[outcome.action])
    cli.out.line(f"{_id(outcome.object)} {action}{safe(fields)}{' (dry run)' if dry_run else ''}")


def _explain(error: ApiError, manifest: Manifest) -> Failure:
    failure = translate(error)
    if failure is None:  # pragma: no cover  # every ApiError has a translation
        raise error
    return Failure(f"{_id(manifest)}: {failure.message}", hint=failure.hint, code=failure.code)


def _target(manifest: Manifest) -> Target:
    return Target(KindName(manifest.kind.lower()), manifest.metadata.name)


def _id(thing: Manifest | Instance | Repository) -> str:
    return f"{thing.kind.lower()}/{thing.metadata.name}"
