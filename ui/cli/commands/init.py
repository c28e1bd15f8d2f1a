"""``init``: register the repository around a folder and write an example manifest."""

from __future__ import annotations

import itertools
import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from api.client import Client
from controller.resources import Repository, RepositoryManifest, find_condition
from ui.cli.checkout import Checkout, find_checkout
from ui.cli.example import FILE_NAME, example_manifest
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.goals import Outcome, Thing, repository_outcome
from ui.cli.invocation import Invocation
from ui.cli.kinds import KindName, Target
from ui.cli.manifests import describe_errors
from ui.cli.options import WaitOption, timeout_option
from ui.cli.rendering.table import pairs
from ui.cli.rendering.terminal import safe
from ui.cli.waiting import TimedOutError, Wait, look, timeout_failure, wait_for


def init(
    cli: Invocation,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder inside the repository.")] = Path(),
    *,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name to register; default: the folder's name.")
    ] = None,
    base_branch: Annotated[
        str | None,
        typer.Option("--base-branch", metavar="BRANCH", help="Where branches start; default: the one HEAD is on."),
    ] = None,
    manifest: Annotated[
        bool, typer.Option("--manifest/--no-manifest", help=f"Write a commented {FILE_NAME} if there is none.")
    ] = True,
    wait: WaitOption = True,
    timeout: Annotated[float, timeout_option("30s")] = 30.0,
) -> None:
    """Register the git repository around a folder.

    Safe to repeat. Waits until the controller has looked at it, and prints its warnings and the next command.
    """
    checkout = _checkout(path)
    with cli.client() as client:
        before = _registered(client, checkout, name)
        repository, action = _register(client, checkout, before, name, base_branch)
        target = Target(KindName.REPOSITORY, repository.metadata.name)
        if wait:
            repository = _wait(cli, client, repository, before, timeout)
        instance = _free_name(client)
    cli.out.line(f"{target} {action}: {safe(repository.spec.path)}")
    for warning in repository.status.warnings:
        cli.err.line(f"{cli.err.style('warning:', 'notice')} {safe(warning)}")
    written = _write_example(checkout, repository.metadata.name, instance) if manifest else None
    _print_next(cli, checkout, written, instance)


def _checkout(path: Path) -> Checkout:
    if not path.is_dir():
        raise Failure(f"{path}: there is no such folder", code=ExitCode.NOT_FOUND)
    checkout = find_checkout(path)
    if checkout is None:
        raise Failure(
            f"{path.resolve()} is not inside a git repository",
            hint="go to one, or make one with 'git init' and a first commit",
            code=ExitCode.NOT_FOUND,
        )
    return checkout


def _registered(client: Client, checkout: Checkout, name: str | None) -> Repository | None:
    """Return the registration there is: one path has one."""
    path = str(checkout.path)
    known = next((each for each in client.list_repositories() if each.spec.path == path), None)
    if known is not None and name is not None and name != known.metadata.name:
        raise Failure(
            f"{path} is registered already, as {known.metadata.name!r}",
            hint=f"use that name, or forget it first: cco repository delete {known.metadata.name}",
            code=ExitCode.CONFLICT,
        )
    return known


def _register(
    client: Client, checkout: Checkout, known: Repository | None, name: str | None, base_branch: str | None
) -> tuple[Repository, str]:
    """Return the registered repository and what was done."""
    if known is None:
        return _create(client, name or checkout.default_name, str(checkout.path), base_branch), "registered"
    if base_branch is None or base_branch == known.spec.base_branch:
        return known, "is registered already"
    changed = client.patch_repository(
        known.metadata.name, {"spec": {"base_branch": base_branch}}, known.metadata.resource_version
    )
    return changed, "changed"


def _create(client: Client, name: str, path: str, base_branch: str | None) -> Repository:
    taken = look(client, Target(KindName.REPOSITORY, name))
    if isinstance(taken, Repository):
        raise Failure(
            f"the name {name!r} is taken by {taken.spec.path}",
            hint="choose another one with --name",
            code=ExitCode.CONFLICT,
        )
    spec: dict[str, Any] = {"path": path} | ({"base_branch": base_branch} if base_branch is not None else {})
    try:
        manifest = RepositoryManifest.model_validate({"metadata": {"name": name}, "spec": spec})
    except ValidationError as error:
        lines = [message for _, message in describe_errors(error, RepositoryManifest)]
        raise Failure("; ".join(lines), hint="choose another name with --name", code=ExitCode.INVALID) from error
    return client.create_repository(manifest)


def _wait(
    cli: Invocation, client: Client, repository: Repository, before: Repository | None, timeout: float
) -> Repository:
    """Return the repository when the controller has looked at it; a change that made it useless is taken back."""
    target = Target(KindName.REPOSITORY, repository.metadata.name)
    newest = repository

    def judge(thing: Thing | None) -> Outcome | None:
        nonlocal newest
        if not isinstance(thing, Repository):
            return Outcome("it was forgotten meanwhile", "Deleted")
        newest = thing
        return repository_outcome(thing)

    try:
        end = wait_for(cli, client, Wait(target, judge, timeout))
    except TimedOutError:
        raise timeout_failure(target, "was looked at", timeout, _last_look(newest)) from None
    if end.error is None:
        return newest
    said = f"({end.reason}): {end.error}"
    if before is not None and before.spec.base_branch != repository.spec.base_branch:
        client.patch_repository(target.name, {"spec": {"base_branch": before.spec.base_branch}})
        old = repr(before.spec.base_branch) if before.spec.base_branch is not None else "the branch HEAD is on"
        raise Failure(
            f"{target}: no instance could be made from it {said}. Its base branch is {old} again",
            hint="cco init --base-branch BRANCH, with a branch that exists",
            code=ExitCode.FAILED,
        )
    again = "cco init --base-branch BRANCH" if repository.spec.base_branch is not None else "cco init"
    raise Failure(
        f"{target} is registered, but no instance can be made from it {said}",
        hint=f"mend it and run '{again}' again",
        code=ExitCode.FAILED,
    )


def _last_look(repository: Repository) -> str:
    """Say what the controller's looks came to, if there were any."""
    ready = find_condition(repository.status.conditions, "Ready")
    if ready is None:
        return "the controller has not done so; see 'cco status'"
    return f"the controller cannot look at it ({ready.reason}): {ready.message}"


def _free_name(client: Client) -> str:
    """Return a name for the first instance here; ``first`` may be another repository's."""
    taken = {instance.metadata.name for instance in client.list_instances()}
    names = itertools.chain(["first"], (f"first-{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def _write_example(checkout: Checkout, repository: str, instance: str) -> Path | None:
    """Write the example beside the user's files, never over one; ``None`` when there was nothing to write.

    Root gives it to the folder's owner, to whom all the other files there belong.
    """
    if checkout.bare:
        return None
    file = checkout.path / FILE_NAME
    try:
        with file.open("x", encoding="utf-8") as stream:
            owner = checkout.path.stat()
            if os.geteuid() == 0:
                os.fchown(stream.fileno(), owner.st_uid, owner.st_gid)
            stream.write(example_manifest(repository, instance))
    except FileExistsError:
        return None
    return file


def _print_next(cli: Invocation, checkout: Checkout, written: Path | None, instance: str) -> None:
    manifest = checkout.path / FILE_NAME
    steps: list[tuple[str, str]] = []
    if written is not None:
        steps.append(("wrote", str(written)))
    steps.append(("next", f"cco spawn {instance} -p 'Say hello and list the files of this repository.'"))
    if manifest.is_file():
        where = manifest.name if Path.cwd() == checkout.path else shlex.quote(str(manifest))
        # Applying a file that was there before may change what runs, such as the prompt it was spawned with.
        steps.append(("or", f"cco apply -f {where}" if written is not None else f"cco diff -f {where}"))
    cli.out.line("\n".join(pairs(steps, cli.out, indent=2)))
