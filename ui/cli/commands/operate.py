"""``instance start|stop|restart|retry|suspend|resume``: a changed spec, and waiting until the world agrees."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from api.client import ApiError, Client
from controller.resources import ConditionStatus, Instance, OperatingMode, find_condition
from ui.cli.achieving import achieve
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.invocation import Invocation
from ui.cli.options import NamesArgument, WaitOption, timeout_option

Timeout = Annotated[float, timeout_option("3m")]
DEFAULT_SECONDS = 180.0
ATTEMPTS = 8
PAUSE_SECONDS = 0.2
"""A change of ours may meet the controller's or another person's: read again, try again, but not for ever."""


def start(
    cli: Invocation, names: NamesArgument, *, wait: WaitOption = True, timeout: Timeout = DEFAULT_SECONDS
) -> None:
    """Start a stopped instance.

    Its worktree and conversation are as they were; a new container is made.
    """
    _set_mode(cli, names, OperatingMode.RUNNING, "started", timeout if wait else None)


def stop(cli: Invocation, names: NamesArgument, *, wait: WaitOption = True, timeout: Timeout = DEFAULT_SECONDS) -> None:
    """Stop an instance; the conversation and the worktree stay.

    Claude ends its session and the container is removed. 'start' continues the conversation.
    """
    _set_mode(cli, names, OperatingMode.STOPPED, "stopped", timeout if wait else None)


def suspend(
    cli: Invocation, names: NamesArgument, *, wait: WaitOption = True, timeout: Timeout = DEFAULT_SECONDS
) -> None:
    """Suspend an instance; its container is kept.

    The processes end and free memory and CPU. 'resume' continues the conversation.
    """
    _set_mode(cli, names, OperatingMode.SUSPENDED, "suspended", timeout if wait else None)


def resume(
    cli: Invocation, names: NamesArgument, *, wait: WaitOption = True, timeout: Timeout = DEFAULT_SECONDS
) -> None:
    """Resume a suspended instance."""
    _set_mode(cli, names, OperatingMode.RUNNING, "resumed", timeout if wait else None)


def restart(
    cli: Invocation, names: NamesArgument, *, wait: WaitOption = True, timeout: Timeout = DEFAULT_SECONDS
) -> None:
    """Restart an instance; the conversation goes on.

    One that runs is stopped first. For one that was given up, 'retry' does the same. One that is stopped or suspended
    is refused: start or resume it.
    """

    def again(instance: Instance) -> dict[str, Any]:
        return {"spec": {"restart_generation": instance.spec.restart_generation + 1}}

    _refuse_resting(cli, names)
    _change_all(cli, names, again, "restarted", timeout if wait else None)


def retry(
    cli: Invocation, names: NamesArgument, *, wait: WaitOption = True, timeout: Timeout = DEFAULT_SECONDS
) -> None:
    """Try again what was given up, or stopped for want of space.

    The count of failures begins anew, and no brake of the fleet holds it. One that runs is not disturbed.
    """

    def again(instance: Instance) -> dict[str, Any]:
        return {"spec": {"retry_generation": instance.spec.retry_generation + 1}}

    def told(instance: Instance) -> str:
        ready = find_condition(instance.status.conditions, "Ready")
        runs = ready is not None and ready.status is ConditionStatus.TRUE
        return "runs: there is nothing to try again, only its failures count anew" if runs else "tried again"

    _refuse_resting(cli, names)
    _change_all(cli, names, again, "tried again", timeout if wait else None, told)


def change(client: Client, name: str, patch: Callable[[Instance], dict[str, Any] | None]) -> Instance:
    """Apply to the newest version what ``patch`` makes of it (``None`` = nothing), and again after a conflict.

    Raises:
        Failure: somebody else was faster every time.
    """
    for _ in range(ATTEMPTS):
        instance = client.get_instance(name)
        wish = patch(instance)
        if wish is None:
            return instance
        try:
            return client.patch_instance(name, wish, resource_version=instance.metadata.resource_version)
        except ApiError as error:
            if error.reason != "StaleWrite":
                raise
            time.sleep(random.uniform(0, PAUSE_SECONDS))  # noqa: S311  # so that two who met do not meet again
    raise Failure(
        f"instance/{name} was changed by somebody else {ATTEMPTS} times in a row",
        hint=f"see who with 'cco events --for instance/{name}', then try again",
        code=ExitCode.CONFLICT,
    )


def _refuse_resting(cli: Invocation, names: Sequence[str]) -> None:
    """Refuse what would change nothing: an instance that is to be stopped or suspended stays so."""
    with cli.client() as client:
        for name in names:
            mode = client.get_instance(name).spec.operating_mode
            if mode is not OperatingMode.RUNNING:
                verb = "start" if mode is OperatingMode.STOPPED else "resume"
                raise Failure(
                    f"instance/{name} is to be {mode.lower()}, so this would not start it",
                    hint=f"cco instance {verb} {name}",
                    code=ExitCode.CONFLICT,
                )


def _set_mode(cli: Invocation, names: Sequence[str], mode: OperatingMode, done: str, timeout: float | None) -> None:
    def to_mode(instance: Instance) -> dict[str, Any] | None:
        return None if instance.spec.operating_mode is mode else {"spec": {"operating_mode": str(mode)}}

    _change_all(cli, names, to_mode, done, timeout)


def _change_all(
    cli: Invocation,
    names: Sequence[str],
    patch: Callable[[Instance], dict[str, Any] | None],
    done: str,
    timeout: float | None,
    told: Callable[[Instance], str] | None = None,
) -> None:
    """Change all first, then wait for all: they go their way in parallel. ``timeout`` ``None`` = do not wait.

    ``told`` says what was done with one, as it was when it was changed; default: ``done``.
    """
    with cli.client() as client:
        changed = [change(client, name, patch) for name in names]
        for instance in changed:
            name, words = instance.metadata.name, done if told is None else told(instance)
            if timeout is None:
                cli.out.line(f"instance/{name} is being {done}")
                continue
            achieve(cli, client, instance, timeout)
            cli.out.line(f"instance/{name} {words}")
