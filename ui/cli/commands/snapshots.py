"""``snapshots``: uncommitted work that was saved, also that of instances that are gone, and bringing it back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from api.client import Client, ClientError
from controller.errors import CcoError
from controller.resources.snapshot import RestoreRequest, Snapshot, SnapshotDetail, SnapshotList, SnapshotRestored
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.invocation import Invocation
from ui.cli.options import Output, OutputOption, complete_instance, complete_repository
from ui.cli.rendering.humanize import count
from ui.cli.rendering.serial import to_json, to_yaml
from ui.cli.rendering.snapshots import description, listing
from ui.cli.rendering.table import Cell, pairs
from ui.cli.rendering.terminal import safe

_PREFIX = "refs/cco/snapshots/"
_SHORT = 12
_LEAST = 4
_COMMIT = re.compile(rf"[0-9a-f]{{{_LEAST},64}}")


def complete_snapshot(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what a snapshot can be called, for the shell: its commit, or its id when that was begun."""
    found = _ask(ctx).items
    names = [each.commit[:_SHORT] for each in found] + [each.id for each in found if incomplete]
    return [name for name in names if name.startswith(incomplete)]


def complete_owner(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of instances that have a snapshot, whether they are still there or not."""
    return sorted({each.instance for each in _ask(ctx).items if each.instance.startswith(incomplete)})


def _ask(ctx: typer.Context) -> SnapshotList:
    obj = ctx.find_root().obj
    invocation = obj if isinstance(obj, Invocation) else Invocation()
    try:
        with invocation.client() as client:
            return client.list_snapshots()
    except (ClientError, CcoError, Failure):
        return SnapshotList()


SnapshotArgument = Annotated[
    str,
    typer.Argument(
        metavar="SNAPSHOT",
        help="Its id, the beginning of its commit (4 digits at least), or its ref.",
        autocompletion=complete_snapshot,
    ),
]
Repository = Annotated[
    str | None,
    typer.Option(
        "--repository",
        "-r",
        metavar="NAME",
        help="Only snapshots in this repository.",
        autocompletion=complete_repository,
    ),
]
Owner = Annotated[
    str | None,
    typer.Option(
        "--instance",
        "-i",
        metavar="NAME",
        help="Only snapshots of this instance; it may be deleted.",
        autocompletion=complete_owner,
    ),
]


def list_snapshots(
    cli: Invocation,
    *,
    repository: Repository = None,
    instance: Owner = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List saved uncommitted work.

    Also that of instances that are deleted. Oldest first. Snapshots are commits in your repository; nothing ever
    removes them by itself.
    """
    with cli.client() as client:
        found = client.list_snapshots(repository, instance)
    out = cli.out
    match output:
        case Output.JSON | Output.YAML:
            items = [each.model_dump(mode="json", exclude_none=True) for each in found.items]
            data = {"kind": "List", "items": items}
            out.line(to_json(data) if output is Output.JSON else to_yaml(data))
        case Output.NAME:
            for each in found.items:
                out.line(f"snapshot/{each.id}")
        case _ if not found.items and found.skipped:
            pass  # nobody knows whether there are any
        case _ if not found.items:
            cli.err.line("No snapshots: uncommitted work is saved when an instance is deleted.", "dim")
        case _:
            out.line("\n".join(listing(found.items, out, datetime.now(UTC), wide=output is Output.WIDE)))
    _warn(cli, found)
    if found.skipped and not found.items:
        raise typer.Exit(ExitCode.UNAVAILABLE)


def show_snapshot(
    cli: Invocation,
    snapshot: SnapshotArgument,
    *,
    diff: Annotated[bool, typer.Option("--diff", "-d", help="The difference as text, too (256 KiB at most).")] = False,
    repository: Repository = None,
    instance: Owner = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what is in a snapshot.

    Its message, the commit it stands on, and the files that differ from that.
    """
    with cli.client() as client:
        found = _find(cli, client, snapshot, repository, instance)
        detail = client.get_snapshot(found.repository, found.id, instance=found.instance, diff=diff)
    match output:
        case Output.JSON | Output.YAML:
            data = detail.model_dump(mode="json", exclude_none=True)
            cli.out.line(to_json(data) if output is Output.JSON else to_yaml(data))
        case Output.NAME:
            cli.out.line(f"snapshot/{detail.id}")
        case _:
            _print_detail(cli, detail)


def restore_snapshot(
    cli: Invocation,
    snapshot: SnapshotArgument,
    *,
    branch: Annotated[
        str | None,
        typer.Option("--branch", "-b", metavar="NAME", help="To this new branch; default: restore/INSTANCE-TIME."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="To a new worktree in this folder, which must not exist or be empty."),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="NAME",
            help="Into the worktree of this instance, which must be stopped, suspended or idle.",
            autocompletion=complete_instance,
        ),
    ] = None,
    repository: Repository = None,
    instance: Owner = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring a snapshot back; nothing that exists is overwritten.

    By default it becomes the tip of a new branch. With --to it becomes a worktree with the work uncommitted, as it was,
    on no branch. With --into the files go to a living instance, as 'git stash apply' does it: what is uncommitted there
    is saved first, and where a file there is neither as in the snapshot nor as the snapshot stood on, nothing at all is
    changed.

    Restored are changed, new and removed files, their modes, and links. What was staged is not told apart, ignored
    files and empty folders are in no snapshot, and the '.git' of a repository inside the worktree comes back as
    '.git-saved'. The snapshot stays.
    """
    if sum(each is not None for each in (branch, to, into)) > 1:
        raise typer.BadParameter("give only one of --branch, --to and --into", param_hint="--branch")
    wish = _wish(branch, to, into)
    with cli.client() as client:
        found = _find(cli, client, snapshot, repository, instance)
        done = client.restore_snapshot(found.repository, found.id, wish, instance=found.instance)
        path = client.get_repository(found.repository).spec.path
    if output in {Output.JSON, Output.YAML}:
        data = done.model_dump(mode="json", exclude_none=True)
        cli.out.line(to_json(data) if output is Output.JSON else to_yaml(data))
    elif output is Output.NAME:
        cli.out.line(f"snapshot/{done.snapshot.id}")
    else:
        _print_restored(cli, done, path)


def _wish(branch: str | None, to: Path | None, into: str | None) -> RestoreRequest:
    from pydantic import ValidationError  # noqa: PLC0415  # the resources have imported it

    try:
        return RestoreRequest(branch=branch, path=None if to is None else str(_absolute(to)), into=into)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"branch": "--branch", "path": "--to", "into": "--into"}.get(str(first["loc"][0]), "--branch")
        raise typer.BadParameter(str(first["msg"]).removeprefix("Value error, "), param_hint=option) from None


def _absolute(folder: Path) -> Path:
    """Return the folder as seen from here, without ``..`` and without a look at the disk."""
    parts: list[str] = []
    for part in (Path.cwd() / folder.expanduser()).parts:
        if part == "..":
            parts = parts[:-1] or parts
        else:
            parts.append(part)
    return Path(*parts)


def _find(cli: Invocation, client: Client, words: str, repository: str | None, instance: str | None) -> Snapshot:
    """Return the one snapshot that is meant."""
    found = client.list_snapshots(repository, instance)
    matches = _matching(words, found.items)
    if len(matches) == 1:
        return matches[0]
    _warn(cli, found)
    if not matches:
        hint = "'cco snapshots list' shows those there are"
        if _COMMIT.fullmatch(words) is None and any(each.instance == words for each in found.items):
            hint = f"'cco snapshots list --instance {words}' shows those of the instance"
        raise Failure(f"there is no snapshot {words!r}", hint=hint, code=ExitCode.NOT_FOUND)
    names = ", ".join(f"{each.instance} {each.id}" for each in matches[:5])
    raise Failure(
        f"{words!r} is the beginning of {len(matches)} snapshots: {names}",
        hint="give more of it, or --instance, or --repository",
        code=ExitCode.CONFLICT,
    )


def _matching(words: str, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    words = words.removeprefix("snapshot/")
    if words.startswith(_PREFIX):
        return [each for each in snapshots if each.ref == words]
    exact = [each for each in snapshots if each.id == words]
    if exact or _COMMIT.fullmatch(words) is None:
        return exact
    return [each for each in snapshots if each.commit.startswith(words)]


def _print_detail(cli: Invocation, detail: SnapshotDetail) -> None:
    out = cli.out
    out.line("\n".join(description(detail, out, datetime.now(UTC))))
    if detail.diff is not None:
        out.line()
        for line in detail.diff.removesuffix("\n").split("\n"):
            style = {"+": "added", "-": "removed", "@": "moving"}.get(line[:1], "")
            out.line(safe(line) if out.interactive else line, style)
    if detail.diff_cut:
        command = f"git show {detail.commit[:_SHORT]}"
        cli.err.line(f"The difference is longer; '{command}' in the repository shows all of it.", "notice")


def _print_restored(cli: Invocation, done: SnapshotRestored, repository: str) -> None:
    out, name, commit = cli.out, done.snapshot.instance, done.snapshot.commit[:_SHORT]
    values: list[tuple[str, Cell | str]] = []
    if done.branch is not None:
        out.line(f"snapshot {commit} of {name} restored to branch {done.branch} ({count(done.files, 'file')})")
        values = [
            ("look", f"git -C {repository!r} show --stat {done.branch}"),
            ("go on", f"git -C {repository!r} switch {done.branch}"),
        ]
    elif done.into is not None and not done.files:
        out.line(f"instance/{done.into} has everything of snapshot {commit} already")
    elif done.into is not None:
        out.line(f"snapshot {commit} of {name} restored into instance/{done.into} ({count(done.files, 'file')})")
        values = [("worktree", done.path or "")]
        if done.previous is not None:
            values.append(("before", f"cco snapshots show {done.previous}"))
    else:
        out.line(f"snapshot {commit} of {name} restored to {done.path} ({count(done.files, 'file')})")
        values = [
            ("look", f"git -C {done.path!r} status"),
            ("go on", f"git -C {done.path!r} switch -c BRANCH"),
        ]
    if values:
        out.line("\n".join(pairs(values, out, indent=2)))
    for path in done.skipped:
        cli.err.line(safe(f"{path}: a submodule, which is not in the snapshot"), "notice")


def _warn(cli: Invocation, found: SnapshotList) -> None:
    for each in found.skipped:
        cli.err.line(safe(f"repository {each.repository} could not be asked: {each.message}"), "notice")
