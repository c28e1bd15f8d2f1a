"""``instance spawn``: from a command line to a running Claude Code, each step shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from api.client import Client
from controller.resources import Instance, InstanceManifest, PermissionMode, display_state
from controller.resources.inputs import MAX_INPUT_CHARACTERS
from ui.cli.achieving import achieve
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.invocation import Invocation
from ui.cli.listing import instance_listing, print_one
from ui.cli.manifests import describe_errors
from ui.cli.options import Output, OutputOption, WaitOption, complete_repository, read_text, timeout_option
from ui.cli.registered import repository_of
from ui.cli.rendering.columns import STATE_STYLES
from ui.cli.rendering.table import Cell, pairs

MODEL = "What Claude works with"
LIMITS = "Limits"
MORE = "More"

_OPTIONS = {
    "metadata.name": "NAME",
    "metadata.labels": "--label",
    "spec.resources.cpus": "--cpus",
    "spec.resources.memory": "--memory",
    "spec.resources.pids": "--pids",
    "spec.base_branch": "--base-branch",
    "spec.permission_mode": "--permission-mode",
    "spec.env": "--env",
    "spec.args": "--arg",
    "spec.branch": "--branch",
    "spec.model": "--model",
    "spec.runtime": "--runtime",
    "spec.image": "--image",
    "spec.layout": "--layout",
    "spec.prompt": "--prompt",
}


def spawn(  # noqa: PLR0913  # one parameter for each option
    cli: Invocation,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the new instance; also the branch's, by default.")
    ],
    *,
    repository: Annotated[
        str | None,
        typer.Option(
            "--repository",
            "-r",
            metavar="NAME",
            help="A registered repository; default: the one around the current folder.",
            autocompletion=complete_repository,
        ),
    ] = None,
    branch: Annotated[
        str | None, typer.Option("--branch", "-b", metavar="BRANCH", help="The branch to work on.")
    ] = None,
    base_branch: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Where a new branch starts; default: the repository's.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="The first prompt; '-' reads standard input.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The first prompt, from a file.", dir_okay=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model, as claude --model takes it.", rich_help_panel=MODEL)
    ] = None,
    permission_mode: Annotated[
        PermissionMode | None,
        typer.Option(help="What Claude may do unasked; default: acceptEdits.", rich_help_panel=MODEL),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="ARG", help="One more argument for claude. Repeatable.", rich_help_panel=MODEL),
    ] = None,
    cpus: Annotated[
        float | None, typer.Option(metavar="N", help="CPU cores, for example 1.5.", rich_help_panel=LIMITS)
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory, for example 2Gi or 512Mi.", rich_help_panel=LIMITS)
    ] = None,
    pids: Annotated[
        int | None, typer.Option(metavar="N", help="Processes and threads together.", rich_help_panel=LIMITS)
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What carries it: docker, or process (no isolation).", rich_help_panel=MORE),
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="IMAGE", help="Container image.", rich_help_panel=MORE)] = None,
    layout: Annotated[str | None, typer.Option(metavar="NAME", help="tmux layout.", rich_help_panel=MORE)] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K=V",
            help="Environment variable; K alone takes its value from here. Not for secrets. Repeatable.",
            rich_help_panel=MORE,
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Label to select by. Repeatable.", rich_help_panel=MORE)
    ] = None,
    wait: WaitOption = True,
    timeout: Annotated[float, timeout_option("5m")] = 300.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Declare an instance and watch it start.

    Shows workspace, container, session and ready as they come true, and ends when Claude Code is ready or cannot
    become so without help. The instance starts whether or not anybody watches; Ctrl-C only ends the watching.
    """
    resources = {"cpus": cpus, "memory": memory, "pids": pids}
    wishes = {
        "branch": branch,
        "base_branch": base_branch,
        "prompt": _prompt(prompt, prompt_file),
        "model": model,
        "permission_mode": permission_mode,
        "args": arg,
        "resources": _given(resources),
        "runtime": runtime,
        "image": image,
        "layout": layout,
        "env": _pairs(env, "--env", environment=True),
    }
    labels = _pairs(label, "--label")
    with cli.client() as client:
        chosen = repository or repository_of(client, Path.cwd()).metadata.name
        manifest = _manifest(name, chosen, wishes, labels)
        instance = client.create_instance(manifest)
        if wait:
            instance = achieve(cli, client, instance, timeout)
        _conclude(cli, client, instance, output, ready=wait)


def _prompt(text: str | None, file: Path | None) -> str | None:
    if text is not None and file is not None:
        raise typer.BadParameter("give the prompt either as text or as a file", param_hint="--prompt")
    if file is not None:
        text = read_text(file)
    elif text == "-":
        text = sys.stdin.read(MAX_INPUT_CHARACTERS + 1)
    if text is not None and not text.strip():
        raise typer.BadParameter("the prompt is empty", param_hint="--prompt")
    return text


def _pairs(items: Sequence[str] | None, option: str, *, environment: bool = False) -> dict[str, str] | None:
    """Return ``K=V`` arguments as a mapping; ``K`` alone is looked up in our own environment where that is meant."""
    if not items:
        return None
    values: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            found = os.environ.get(key) if environment else None
            if found is None:
                hint = f" ({key} is not set here)" if environment else ""
                raise typer.BadParameter(f"{item!r} is not K=V{hint}", param_hint=option)
            value = found
        values[key] = value
    return values


def _given(values: dict[str, Any]) -> dict[str, Any] | None:
    return {key: value for key, value in values.items() if value is not None} or None


def _manifest(name: str, repository: str, wishes: dict[str, Any], labels: dict[str, str] | None) -> InstanceManifest:
    """Return the manifest; only what was given counts as set, so that the repository's defaults fill the rest."""
    data = {
        "metadata": {"name": name, **(_given({"labels": labels}) or {})},
        "spec": {"repository": repository, **(_given(wishes) or {})},
    }
    try:
        return InstanceManifest.model_validate(data)
    except ValidationError as error:
        lines = []
        for path, message in describe_errors(error, InstanceManifest):
            dotted = ".".join(str(step) for step in path)
            option = next((word for field, word in _OPTIONS.items() if dotted.startswith(field)), None)
            lines.append(f"{option}: {message.partition(': ')[2]}" if option else message)
        raise Failure("\n       ".join(lines), hint="cco instance spawn --help", code=ExitCode.INVALID) from error


def _conclude(cli: Invocation, client: Client, instance: Instance, output: Output, *, ready: bool) -> None:
    """Print what there is now and what to do next."""
    if output is not Output.TABLE:
        print_one(cli, instance_listing(lambda: [instance], wide=output is Output.WIDE), instance, output)
        return
    name, out = instance.metadata.name, cli.out
    if not ready:
        out.line(f"instance/{name} declared")
        out.line("\n".join(pairs([("watch", "cco get instances --watch"), ("why", f"cco why {name}")], out, indent=2)))
        return
    instance = client.get_instance(name)
    state, _ = display_state(instance)
    out.line(f"{out.style(f'instance/{name}', 'heading')} is {out.style(state, STATE_STYLES[state])}")
    workspace = instance.status.workspace
    where: list[tuple[str, Cell | str]] = [
        ("attach", f"cco attach {name}"),
        ("prompt", f"cco send {name} 'what to do next'"),
        ("branch", instance.branch),
    ]
    if workspace is not None:
        where.append(("worktree", workspace.path))
    out.line("\n".join(pairs(where, out, indent=2)))
