"""One sentence that says how an instance is and what to do about it.

Read by ``cco why``, ``describe`` and ``status``, so that nobody has to guess from five conditions. Pure:
the answer follows from the instance alone; the words for people that name a cause are the conditions' own messages.
"""

from __future__ import annotations

from datetime import datetime

from .conditions import Condition, ConditionStatus, find_condition
from .instance import STOPPED_REASONS, TRANSITIONAL_REASONS, Instance
from .observed import SessionState, SessionStatus

CAUSES = ("WorkspaceReady", "WorkloadRunning", "SessionReady", "AgentHealthy")
"""Conditions in the order in which one makes the next possible: the first that is not met is the cause."""


def explain(instance: Instance) -> str:
    """Return one sentence (and, where something can be done, the way out) for people, without a line break."""
    name = instance.metadata.name
    ready = find_condition(instance.status.conditions, "Ready")
    if instance.metadata.deletion_requested_at is not None:
        return _deleting(instance, ready)
    if ready is None:
        return f"{name} is declared and the controller has not looked at it yet. If this lasts, see 'cco status'."
    if ready.observed_generation < instance.metadata.generation:
        return (
            f"{name} was changed (generation {instance.metadata.generation}) and the controller has acted on "
            f"generation {ready.observed_generation} so far. If this lasts, see 'cco status'."
        )
    if ready.status is ConditionStatus.UNKNOWN:
        return f"It is not known how {name} is ({ready.reason}){_because(instance, ready)}"
    if ready.status is ConditionStatus.TRUE:
        return _ready(name, instance.status.session) + _although(ready)
    if ready.reason in STOPPED_REASONS:
        return _stopped(name, ready)
    if ready.reason in TRANSITIONAL_REASONS:
        return _on_the_way(instance, ready)
    return f"{name} is not ready ({ready.reason}){_because(instance, ready)}{_after_mending(instance)}"


def cause(instance: Instance) -> Condition | None:
    """Return the first condition that keeps the instance from being ready; ``None`` when nothing does."""
    conditions = instance.status.conditions
    for type_ in CAUSES:
        condition = find_condition(conditions, type_)
        if condition is not None and condition.status is not ConditionStatus.TRUE:
            return condition
    ready = find_condition(conditions, "Ready")
    return ready if ready is not None and ready.status is not ConditionStatus.TRUE else None


def _deleting(instance: Instance, ready: Condition | None) -> str:
    name = instance.metadata.name
    blocked = (
        ready is not None
        and ready.status is not ConditionStatus.TRUE
        and ready.reason not in TRANSITIONAL_REASONS | {"Deleting"}
    )
    if blocked and ready is not None:
        return f"{name} is to be deleted, but cannot be yet ({ready.reason}){_because(instance, ready)}"
    return (
        f"{name} is being deleted since {_at(instance.metadata.deletion_requested_at)}; "
        f"branch {instance.branch} and a snapshot of uncommitted work stay."
    )


def _ready(name: str, session: SessionStatus | None) -> str:
    if session is None:
        return f"{name} is ready."
    since = _at(session.since)
    tool = f" ({session.tool})" if session.tool else ""
    match session.state:
        case SessionState.WORKING:
            return f"{name} is working{tool} since {since}; nothing has to be done."
        case SessionState.WAITING if session.waiting_for == "input needed":
            return (
                f"{name} waits for an answer{tool} since {since}: give it with 'cco instance send {name} TEXT' "
                f"or 'cco instance attach {name}'."
            )
        case SessionState.WAITING:
            what = session.waiting_for or "an answer"
            return f"{name} waits ({what}{_for(session)}) since {since}: answer it with 'cco instance attach {name}'."
        case SessionState.IDLE if session.detail:
            return f"{name} is idle since {since}, and {session.detail.rstrip('.')}: {_after_failure(name, session)}."
        case SessionState.IDLE:
            return f"{name} is idle since {since}: give it the next prompt with 'cco instance send {name} TEXT'."
        case SessionState.STARTING:
            return f"{name} is ready and Claude is starting{_detail(session)}."
        case SessionState.EXITED:
            return f"{name}: Claude has ended{_detail(session)}; the controller decides about a restart."


def _after_failure(name: str, session: SessionStatus) -> str:
    # Claude Code's own word for an answer 401 or 403.
    if "authentication_failed" in (session.detail or ""):
        return f"give the controller valid credentials, then 'cco instance restart {name}' and send it again"
    return f"see 'cco instance attach {name}', or send the prompt again"


def _although(ready: Condition) -> str:
    """Return what one that is up should be known for all the same, such as a branch that went two ways."""
    return "" if ready.reason == "Ready" else f" But: {ready.reason}{_message(ready)}"


def _stopped(name: str, ready: Condition) -> str:
    if ready.reason == "Suspended":
        return f"{name} is suspended, as its spec asks; 'cco instance resume {name}' continues the conversation."
    if ready.reason == "Stopped":
        return f"{name} is stopped, as its spec asks; 'cco instance start {name}' continues the conversation."
    return (
        f"{name} has ended{_message(ready)} Its restart policy does not start it again; "
        f"'cco instance restart {name}' does."
    )


def _on_the_way(instance: Instance, ready: Condition) -> str:
    name = instance.metadata.name
    if ready.reason == "BackingOff":
        failures = instance.status.failures
        until = f", next start at {_at(failures.retry_at)}" if failures.retry_at is not None else ""
        why = _sentence(failures.message or _last_exit(instance) or ready.message)
        return f"{name} failed {failures.count} time{'' if failures.count == 1 else 's'} in a row{until}{why}"
    return f"{name} is on its way ({ready.reason}) since {_at(ready.last_transition_at)}{_because(instance, ready)}"


def _because(instance: Instance, ready: Condition) -> str:
    """Return ``": message."``; without a message in ``Ready``, which sums up, the cause's own words are used."""
    if ready.message:
        return _sentence(ready.message)
    source = cause(instance) or ready
    if source.message:
        return _sentence(source.message)
    if source.type != ready.type:
        return f": {source.type} is {source.status} ({source.reason})."
    return "."


def _after_mending(instance: Instance) -> str:
    """Return the advice to ask for another try, unless the message has named it already."""
    advice = f"cco retry {instance.metadata.name}"
    told = any(advice in condition.message for condition in instance.status.conditions)
    return "" if told else f" When that is mended: '{advice}'."


def _last_exit(instance: Instance) -> str:
    last = instance.status.last_exit
    if last is None:
        return ""
    if last.message:
        return last.message
    code = f" with status {last.exit_code}" if last.exit_code is not None else ""
    return f"it ended{code} ({last.reason})"


def _for(session: SessionStatus) -> str:
    return f", {session.tool}" if session.tool else ""


def _detail(session: SessionStatus) -> str:
    return f" ({session.detail})" if session.detail else ""


def _message(condition: Condition) -> str:
    return _sentence(condition.message)


def _sentence(text: str) -> str:
    """Return ``": text."`` on one line, or ``"."``."""
    line = " ".join(text.split()).rstrip(".")
    return f": {line}." if line else "."


def _at(instant: datetime | None) -> str:
    """Return an instant as people and logs write it: absolute, because a pure function knows no now."""
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC") if instant is not None else "an unknown time"
