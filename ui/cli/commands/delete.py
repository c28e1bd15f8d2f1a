"""``delete``: ask for it, wait until it is done, say where the work is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

import typer

from api.client import ApiError, Client, Resync
from controller.resources import Instance, Repository, WorktreePolicy
from controller.resources.explain import explain
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.goals import Thing
from ui.cli.invocation import Invocation
from ui.cli.kinds import KindName, Target, parse_targets
from ui.cli.manifests import load_manifests
from ui.cli.options import (
    NamesArgument,
    WaitOption,
    complete_kind_then_names,
    complete_repository,
    timeout_option,
)
from ui.cli.rendering.table import Cell, pairs
from ui.cli.waiting import Changes, TimedOutError, Wait, look, wait_for

Timeout = Annotated[float, timeout_option("2m")]
DiscardWork = Annotated[
    bool, typer.Option("--discard-work", help="Go on where work cannot be saved: it is lost. Asks for each name.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DEFAULT_SECONDS = 120.0
REPLAY_SECONDS = 5.0


def delete(
    cli: Invocation,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KIND NAME...", help="For example: instance web api", autocompletion=complete_kind_then_names
        ),
    ] = None,
    *,
    files: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="What these manifests declare. Repeatable."),
    ] = None,
    missing_ok: Annotated[
        bool, typer.Option("--ignore-not-found", help="What is not there counts as deleted.")
    ] = False,
    discard_work: DiscardWork = False,
    yes: Yes = False,
    wait: WaitOption = True,
    timeout: Timeout = DEFAULT_SECONDS,
) -> None:
    """Delete objects; branches and snapshots of uncommitted work stay.

    Waits until they are gone and says where the work is. An instance's branch always stays in your repository;
    uncommitted work is saved to a private ref before anything is removed.
    """
    if bool(words) == bool(files):
        raise typer.BadParameter("give either KIND NAME... or -f FILE", param_hint="KIND NAME...")
    targets = parse_targets(words) if words else _declared(files or [])
    given_up = _give_up(cli, targets, yes=yes) if discard_work else frozenset()
    _delete(cli, targets, missing_ok=missing_ok, timeout=timeout if wait else None, given_up=given_up)


def delete_instances(
    cli: Invocation,
    names: NamesArgument,
    *,
    discard_work: DiscardWork = False,
    yes: Yes = False,
    wait: WaitOption = True,
    timeout: Timeout = DEFAULT_SECONDS,
) -> None:
    """Delete instances; branches and snapshots stay."""
    targets = [Target(KindName.INSTANCE, name) for name in names]
    given_up = _give_up(cli, targets, yes=yes) if discard_work else frozenset()
    _delete(cli, targets, missing_ok=False, timeout=timeout if wait else None, given_up=given_up)


def delete_repositories(
    cli: Invocation,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Names of repositories.", autocompletion=complete_repository),
    ],
    *,
    wait: WaitOption = True,
    timeout: Timeout = DEFAULT_SECONDS,
) -> None:
    """Forget repositories; nothing on disk is touched."""
    targets = [Target(KindName.REPOSITORY, name) for name in names]
    _delete(cli, targets, missing_ok=False, timeout=timeout if wait else None)


@dataclass(frozen=True, slots=True)
class _Doomed:
    """An object on its way out; ``repository`` is where an instance's branch is, if that is known."""

    target: Target
    thing: Thing
    repository: str | None


def _declared(files: Sequence[str]) -> list[Target]:
    """Return what the manifests declare, instances before the repositories they need."""
    return [
        Target(KindName(manifest.kind.lower()), manifest.metadata.name) for manifest in reversed(load_manifests(files))
    ]


def _give_up(cli: Invocation, targets: Sequence[Target], *, yes: bool) -> frozenset[str]:
    """Return the names of the instances whose work may be lost, each of which a person has typed or said yes for."""
    names = [target.name for target in targets if target.kind is KindName.INSTANCE]
    for name in names:
        if yes:
            continue
        if not sys.stdin.isatty():
            raise typer.BadParameter("needs --yes where nobody can be asked", param_hint="--discard-work")
        cli.err.line(f"Work of {name} that cannot be saved is lost for good. Type its name to go on.", "notice")
        if typer.prompt("name", default="", show_default=False, err=True) != name:
            raise Failure(f"instance/{name}: that is not its name, nothing was deleted", code=ExitCode.FAILED)
    return frozenset(names)


def _delete(
    cli: Invocation,
    targets: Sequence[Target],
    *,
    missing_ok: bool,
    timeout: float | None,
    given_up: frozenset[str] = frozenset(),
) -> None:
    """Ask for all, then wait for all. A repository is asked for when the instances before it are gone.

    One that is refused is no reason to leave the others, or to be silent about them; it is told at the end.
    """
    doomed: list[_Doomed] = []
    refused: list[ApiError] = []
    with cli.client() as client:
        for target in targets:
            if target.kind is KindName.REPOSITORY and timeout is not None:
                doomed = _finish(cli, client, doomed, timeout)
            try:
                thing: Thing = _request(client, target, discard_work=target.name in given_up)
            except ApiError as error:
                if error.status == HTTPStatus.NOT_FOUND and missing_ok:
                    cli.out.line(f"{target} is not there", "dim")
                else:
                    refused.append(error)
                continue
            doomed.append(_Doomed(target, thing, _path_of(client, thing)))
        if timeout is not None:
            doomed = _finish(cli, client, doomed, timeout)
        for each in doomed:
            cli.out.line(f"{each.target} is being deleted")
    if refused:
        raise _all_in_one(refused)


def _all_in_one(errors: Sequence[ApiError]) -> ApiError:
    """Return an error with the first one's code and everybody's words."""
    first = errors[0]
    return ApiError(first.status, first.reason, "; ".join(dict.fromkeys(each.detail for each in errors)), first.fields)


def _request(client: Client, target: Target, *, discard_work: bool) -> Thing:
    """Ask for the deletion of exactly the object that is there now."""
    if target.kind is KindName.INSTANCE:
        uid = client.get_instance(target.name).metadata.uid
        return client.delete_instance(target.name, uid=uid, discard_work=discard_work)
    return client.delete_repository(target.name, uid=client.get_repository(target.name).metadata.uid)


def _finish(cli: Invocation, client: Client, doomed: Sequence[_Doomed], timeout: float) -> list[_Doomed]:
    """Wait until all are gone; returns the empty rest."""
    for each in doomed:

        def gone(thing: Thing | None, uid: str = each.thing.metadata.uid) -> bool | None:
            return thing is None or thing.metadata.uid != uid or None

        try:
            wait_for(cli, client, Wait(each.target, gone, timeout))
        except TimedOutError as error:
            raise _too_late(each.target, error.last, timeout) from None
        cli.out.line(f"{each.target} deleted")
        if isinstance(each.thing, Instance):
            values = where_the_work_is(_last_words(cli, each.thing), each.repository)
            if values:
                cli.out.line("\n".join(pairs(values, cli.out, indent=2)))
    return []


def _last_words(cli: Invocation, instance: Instance) -> Instance:
    """Return the instance as it was when it went: only then is its snapshot known. Asks for what was streamed."""
    with Changes(cli.client, {"Instance"}, instance.metadata.resource_version) as changes:
        while (change := changes.next(REPLAY_SECONDS)) is not None and not isinstance(change, Resync):
            last = change.object
            if isinstance(last, Instance) and last.metadata.uid == instance.metadata.uid and change.type == "DELETED":
                return last
    return instance


def where_the_work_is(instance: Instance, repository: str | None) -> list[tuple[str, Cell | str]]:
    """Return what stays of a deleted instance and how to look at it."""
    name = instance.metadata.name
    workspace = instance.status.workspace
    if workspace is None or (workspace.head or workspace.base_commit) is None:  # no branch was made for it
        return []
    at = repository or instance.spec.repository
    values: list[tuple[str, Cell | str]] = [("branch", f"{workspace.branch} in {at}")]
    if instance.spec.worktree_policy is WorktreePolicy.RETAIN:
        values.append(("worktree", workspace.path))
    if workspace.snapshot is not None:
        values.append(("snapshot", f"{workspace.snapshot[:12]} (uncommitted work), under refs/cco/snapshots/{name}/"))
        values.append(("restore", f"cco snapshots restore {workspace.snapshot[:12]}"))
    if repository is not None and workspace.snapshot is not None:
        values.append(("look", f"git -C {repository!r} show --stat {workspace.snapshot[:12]}"))
    return values


def _path_of(client: Client, thing: Thing) -> str | None:
    """Return the path of an instance's repository; it may be gone already."""
    if not isinstance(thing, Instance):
        return None
    repository = look(client, Target(KindName.REPOSITORY, thing.spec.repository))
    return repository.spec.path if isinstance(repository, Repository) else None


def _too_late(target: Target, last: Thing | None, timeout: float) -> Failure:
    how = f" {explain(last)}" if isinstance(last, Instance) else ""
    return Failure(
        f"{target} is not gone after {timeout:g} s; its deletion goes on.{how}",
        hint=f"'cco events --for {target} --watch' shows how far it is",
        code=ExitCode.TIMEOUT,
    )
