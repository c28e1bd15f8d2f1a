"""Waiting until an instance is as its spec says, with the steps shown; what spawn, start, stop and restart share."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime

from api.client import Client
from controller.resources import Instance, OperatingMode, display_state

from .exit_codes import ExitCode
from .failures import Failure
from .goals import Outcome, Thing, outcome
from .invocation import Invocation
from .kinds import KindName, Target
from .progress import Progress, open_progress
from .steps import steps
from .waiting import SETTLE_SECONDS, TimedOutError, Wait, timeout_failure, wait_for

GONE = Outcome("it was deleted meanwhile", "Deleted")
_WORDS = {
    OperatingMode.RUNNING: "is ready",
    OperatingMode.STOPPED: "is stopped",
    OperatingMode.SUSPENDED: "is suspended",
}


def achieve(cli: Invocation, client: Client, wish: Instance, timeout: float) -> Instance:
    """Wait until the controller has carried out the instance's spec and return the instance then.

    Raises:
        Failure: it cannot be without somebody's help (exit code 8), or it took too long (7).
    """
    name, uid = wish.metadata.name, wish.metadata.uid
    target = Target(KindName.INSTANCE, name)
    newest = wish

    def judge(thing: Thing | None) -> Outcome | None:
        if not isinstance(thing, Instance) or thing.metadata.uid != uid:
            return GONE
        if thing.metadata.generation < wish.metadata.generation:
            return None
        return outcome(thing)

    with ExitStack() as stack:
        progress = _progress(cli, wish, stack)

        def show(thing: Thing | None) -> None:
            nonlocal newest
            if isinstance(thing, Instance):
                newest = thing
                if progress is not None:
                    progress.show(steps(thing, datetime.now(UTC)))

        wait = Wait(target, judge, timeout, hold=lambda end: SETTLE_SECONDS if end.error else 0.0, on_change=show)
        try:
            end = wait_for(cli, client, wait)
        except TimedOutError as error:
            words = _WORDS[wish.spec.operating_mode]
            raise timeout_failure(target, words, timeout, _state(error.last)) from None
    if end.error is not None:
        hint = "" if end is GONE else f"mend it, then 'cco retry {name}'; 'cco describe instance {name}' has more"
        raise Failure(f"{target} ({end.reason}): {end.error}", hint=hint, code=ExitCode.FAILED)
    return newest


def _progress(cli: Invocation, wish: Instance, stack: ExitStack) -> Progress | None:
    if wish.spec.operating_mode is not OperatingMode.RUNNING:
        return None
    return stack.enter_context(open_progress(f"instance/{wish.metadata.name}", cli.err, time.monotonic))


def _state(thing: Thing | None) -> str:
    if not isinstance(thing, Instance):
        return "it is gone"
    state, reason = display_state(thing)
    return f"it is {state} ({reason})"
