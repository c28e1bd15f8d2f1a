"""``send``: a prompt becomes a row; the loop delivers it, and the agent says when Claude took it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from api.client import Client
from controller.resources import Input, InputState, Instance, OperatingMode, SessionState
from controller.resources.explain import explain
from controller.resources.inputs import MAX_INPUT_CHARACTERS
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.invocation import Invocation
from ui.cli.options import NameArgument, Output, OutputOption, WaitOption, read_text, timeout_option
from ui.cli.rendering.serial import to_json, to_yaml
from ui.cli.rendering.terminal import safe

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


def send(
    cli: Invocation,
    name: NameArgument,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The prompt, verbatim; '-' reads standard input.")
    ] = None,
    *,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="The prompt, from a file.")] = None,
    wait: WaitOption = True,
    timeout: Annotated[float, timeout_option("2m")] = 120.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give an instance its next prompt.

    It is typed when Claude can take it: at the end of its turn, and never while it asks for a permission. Waits until
    Claude has accepted it. A prompt that was not accepted in time stays queued; so does one for an instance that is
    to be stopped or suspended, which is not waited for.
    """
    prompt = _text(text, file)
    with cli.client() as client:
        sent = client.create_input(name, prompt)
        if wait:
            _refuse_resting(client.get_instance(name))
            sent = _acknowledged(client, name, sent, timeout)
    _print(cli, sent, output)
    if sent.state is InputState.REJECTED:
        raise Failure(
            f"instance/{name} rejected the prompt: {sent.reason or 'no reason given'}",
            hint=f"'cco why {name}' says how it is",
            code=ExitCode.FAILED,
        )


def _text(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise typer.BadParameter("give the prompt either as TEXT, as '-' or with --file", param_hint="TEXT")
    if file is not None:
        text = read_text(file)
    elif text == "-":
        text = sys.stdin.read(MAX_INPUT_CHARACTERS + 1)
    if text is None or not text.strip():
        raise typer.BadParameter("the prompt is empty", param_hint="TEXT")
    if len(text) > MAX_INPUT_CHARACTERS:
        raise typer.BadParameter(
            f"the prompt has {len(text)} characters; at most {MAX_INPUT_CHARACTERS} are taken", param_hint="TEXT"
        )
    return text


def _acknowledged(client: Client, name: str, sent: Input, timeout: float) -> Input:
    """Look until the prompt's state is final; the pauses grow, so a long wait asks the server seldom."""
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while sent.state not in {InputState.ACCEPTED, InputState.REJECTED}:
        if time.monotonic() >= deadline:
            raise _too_late(client, sent, timeout)
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        sent = client.get_input(name, sent.id)
    return sent


def _refuse_resting(instance: Instance) -> None:
    """Do not wait for an instance that is to be stopped or suspended."""
    if instance.spec.operating_mode is OperatingMode.RUNNING:
        return
    verb = "start" if instance.spec.operating_mode is OperatingMode.STOPPED else "resume"
    name = instance.metadata.name
    raise Failure(
        f"the prompt is queued, and instance/{name} is to be {instance.spec.operating_mode.lower()}: it takes it when "
        "it runs again",
        hint=f"cco instance {verb} {name}",
        code=ExitCode.FAILED,
    )


def _too_late(client: Client, sent: Input, timeout: float) -> Failure:
    name, controller = sent.instance, client.health().controller
    instance = client.get_instance(name)
    if controller.status != "ok":
        why = controller.detail or "the controller does not answer"
    elif instance.status.session is not None and instance.status.session.state is SessionState.IDLE:
        why = f"{name} is idle and has not taken it yet"
    else:
        why = explain(instance)
    return Failure(
        f"the prompt is still {sent.state.lower()} after {timeout:g} s and stays queued: {why}",
        hint=f"see how far it is with 'cco describe instance {name}'",
        code=ExitCode.TIMEOUT,
    )


def _print(cli: Invocation, sent: Input, output: Output) -> None:
    data = sent.model_dump(mode="json", exclude_none=True)
    match output:
        case Output.JSON:
            cli.out.line(to_json(data))
        case Output.YAML:
            cli.out.line(to_yaml(data))
        case Output.NAME:
            cli.out.line(f"input/{sent.id}")
        case _ if sent.state is not InputState.REJECTED:
            words = {InputState.ACCEPTED: "accepted the prompt", InputState.DELIVERED: "was given the prompt"}
            cli.out.line(safe(f"instance/{sent.instance} {words.get(sent.state, 'will be given the prompt')}"))
        case _:
            pass
