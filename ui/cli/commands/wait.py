"""``wait``: block until something is true, for scripts."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from controller.resources import Instance, display_state, find_condition
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.goals import DELETED, Thing, parse_goal
from ui.cli.invocation import Invocation
from ui.cli.kinds import KindName, Target, parse_targets
from ui.cli.options import complete_target, timeout_option
from ui.cli.waiting import TimedOutError, Wait, look, timeout_failure, wait_for


def wait(
    cli: Invocation,
    words: Annotated[
        list[str],
        typer.Argument(metavar="KIND/NAME...", help="For example: instance/web", autocompletion=complete_target),
    ],
    *,
    goal: Annotated[
        str, typer.Option("--for", metavar="GOAL", help="condition=Ready, condition=Ready=False, state=IDLE or delete.")
    ] = "condition=Ready",
    timeout: Annotated[float, timeout_option("5m")] = 300.0,
) -> None:
    """Wait until something is true of an object.

    Conditions and states count when the controller computed them for the newest spec. The time is for all objects
    together; exit code 7 when it is over.
    """
    wanted = parse_goal(goal)
    deadline = time.monotonic() + timeout
    targets = _targets(words)
    if wanted.of_instances and any(target.kind is not KindName.INSTANCE for target in targets):
        raise typer.BadParameter(f"a repository never {wanted.words}; wait for condition=Ready", param_hint="--for")
    with cli.client() as client:
        for target in targets:
            if wanted is not DELETED and look(client, target) is None:
                raise Failure(f"there is no {target}", hint=f"cco get {target.kind}", code=ExitCode.NOT_FOUND)

            def judge(thing: Thing | None) -> bool | None:
                return wanted.met(thing) or None

            left = max(0.0, deadline - time.monotonic())
            try:
                wait_for(cli, client, Wait(target, judge, left))
            except TimedOutError as error:
                raise timeout_failure(target, wanted.words, timeout, _state(error.last)) from None
            cli.out.line(f"{target} {wanted.words}")


def _targets(words: list[str]) -> list[Target]:
    """Accept ``instance/web``, ``instance web`` and, for one word, a bare instance name."""
    if len(words) == 1 and "/" not in words[0]:
        return [Target(KindName.INSTANCE, words[0])]
    return parse_targets(words)


def _state(thing: Thing | None) -> str:
    if thing is None:
        return "it is gone"
    if isinstance(thing, Instance):
        state, reason = display_state(thing)
        return f"it is {state} ({reason})"
    ready = find_condition(thing.status.conditions, "Ready")
    return f"Ready is {ready.status} ({ready.reason})" if ready is not None else "nobody has looked at it yet"
