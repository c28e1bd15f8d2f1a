"""What a person reads about an instance: texts derived from a resource, without I/O, clock or NiceGUI.

:mod:`.feed` hands over resources, this module turns each into an immutable :class:`InstanceView`, and the
pages compare the new view with the one on the screen and patch what differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from controller.resources import (
    ConditionStatus,
    DisplayState,
    Instance,
    OperatingMode,
    SessionState,
    display_state,
    find_condition,
)

NO_VALUE = "\N{EN DASH}"
_MAX_TEXT = 400
_MAX_PARAGRAPHS = 20_000


class Action(StrEnum):
    """What a person can ask of an instance; the value is also the marker of its button."""

    START = "start"
    RESUME = "resume"
    SUSPEND = "suspend"
    STOP = "stop"
    RESTART = "restart"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class InstanceView:
    """Every text of one instance on the screen.

    Attributes:
        tone: names the semantic colour, ``state-<tone>`` in the style sheet.
        reason: the condition's word, for machines and searches; ``why`` is the same as prose, empty when the
            state already says it.
        detail: the sentence behind the state; empty when the state says it all.
        doing: what Claude does or waits for.
        doing_since: when that began, where known.
        memory_share: part of the limit in use, 0 to 1.
        needs_person: Claude or the controller waits for somebody.
        actions: what makes sense now, the most likely one first.
        haystack: lower-case text that the search looks through.
    """

    name: str
    repository: str
    branch: str
    state: DisplayState
    tone: str
    reason: str
    why: str
    detail: str
    doing: str
    doing_since: datetime | None
    cpu: str
    cpu_share: float
    memory: str
    memory_limit: str
    memory_share: float
    created_at: datetime
    needs_person: bool
    actions: tuple[Action, ...]
    haystack: str


def view_of(instance: Instance) -> InstanceView:
    """Return what the screen says about the instance."""
    state, reason = display_state(instance)
    detail = _detail(instance, state)
    doing, since = _doing(instance, state, detail)
    usage = instance.status.usage if state in _ALIVE else None
    limit = instance.spec.resources.memory
    cpus = instance.spec.resources.cpus
    return InstanceView(
        name=instance.metadata.name,
        repository=instance.spec.repository,
        branch=instance.branch,
        state=state,
        tone=state.value.lower(),
        reason=reason,
        why="" if state in _PLAIN or reason.lower() == state.value.lower() else shorten(words(reason), 60),
        detail=detail,
        doing=doing,
        doing_since=since,
        cpu=f"{usage.cpu_percent:.0f} %" if usage else NO_VALUE,
        cpu_share=min(1.0, usage.cpu_percent / (100 * cpus)) if usage else 0.0,
        memory=human_bytes(usage.memory_bytes) if usage else NO_VALUE,
        memory_limit=human_bytes(limit),
        memory_share=min(1.0, usage.memory_bytes / limit) if usage else 0.0,
        created_at=instance.metadata.created_at,
        needs_person=state in {DisplayState.WAITING, DisplayState.ERROR},
        actions=actions_of(instance, state),
        haystack=f"{instance.metadata.name} {instance.spec.repository} {instance.branch}".lower(),
    )


_PLAIN = {DisplayState.RUNNING, DisplayState.WAITING, DisplayState.IDLE}
_ALIVE = {DisplayState.STARTING, DisplayState.RUNNING, DisplayState.WAITING, DisplayState.IDLE, DisplayState.UNKNOWN}


def actions_of(instance: Instance, state: DisplayState) -> tuple[Action, ...]:
    """Return what a person can ask for now, the most likely wish first; deletion is always last."""
    if state is DisplayState.DELETING:
        return ()
    mode = instance.spec.operating_mode
    if mode is OperatingMode.SUSPENDED:
        return (Action.RESUME, Action.STOP, Action.DELETE)
    if mode is OperatingMode.STOPPED:
        return (Action.START, Action.DELETE)
    if state is DisplayState.ERROR:
        return (Action.RESTART, Action.SUSPEND, Action.STOP, Action.DELETE)
    return (Action.SUSPEND, Action.RESTART, Action.STOP, Action.DELETE)


def _detail(instance: Instance, state: DisplayState) -> str:
    ready = find_condition(instance.status.conditions, "Ready")
    if ready is None or (state in _PLAIN and ready.reason == "Ready"):
        return ""
    return prose(ready.message)  # one that is up may have something to tell all the same: ``Diverged``


def _doing(instance: Instance, state: DisplayState, detail: str) -> tuple[str, datetime | None]:
    session = instance.status.session
    ready = find_condition(instance.status.conditions, "Ready")
    if session is not None and ready is not None and ready.status is ConditionStatus.TRUE:
        tool = shorten(session.tool or "", 60)
        match session.state:
            case SessionState.WORKING:
                return (f"Using {tool}" if tool else "Thinking"), session.since
            case SessionState.WAITING:
                return _waiting_text(session.waiting_for, tool), session.since
            case SessionState.IDLE:
                return "Waits for a prompt", session.since
            case _:
                pass
    since = ready.last_transition_at if ready is not None else None
    return detail or _FALLBACKS.get(state, NO_VALUE), since


_FALLBACKS = {
    DisplayState.STARTING: "Waits for the controller",
    DisplayState.STOPPED: "Keeps worktree and conversation",
    DisplayState.DELETING: "Saves the work, then goes",
}


def _waiting_text(waiting_for: str | None, tool: str) -> str:
    if waiting_for == "permission prompt":
        return f"Asks to use {tool}" if tool else "Asks for permission"
    if waiting_for == "input needed":
        return "Asks a question"
    return shorten(f"Waits: {waiting_for}" if waiting_for else "Waits for you", 80)


def attention_title(views: Iterable[InstanceView], title: str) -> str:
    """Return the page title, with the number of instances that need a person in front."""
    waiting = sum(view.needs_person for view in views)
    return f"({waiting}) {title}" if waiting else title


def shorten(text: str, limit: int = _MAX_TEXT) -> str:
    """Return one line without control characters, at most ``limit`` long: agents choose some of these texts."""
    flat = _CONTROL.sub(" ", text[: limit * 2]).strip()
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def prose(text: str) -> str:
    """Return a message as a sentence on its own: the controller's begin in lower case, to follow others' words."""
    flat = shorten(text)
    return flat[:1].upper() + flat[1:] if re.match(r"[a-z]+ ", flat) else flat


def paragraphs(text: str) -> str:
    """Return text of several lines the same way, its line ends and tabs kept."""
    shown = "\n".join(_CONTROL.sub(" ", line) for line in text[:_MAX_PARAGRAPHS].replace("\t", "    ").splitlines())
    return shown if len(text) <= _MAX_PARAGRAPHS else f"{shown} …"


# C0 and C1 controls, and the characters that reorder or hide text around them (bidi overrides, zero width).
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


def human_bytes(value: int) -> str:
    """Return three significant digits with a binary unit, ``1.5 GiB``; a reading, not an exact quantity."""
    number = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if number >= 10 or number == int(number) else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.0f} TiB" if number >= 10 else f"{number:.1f} TiB"


def words(camel: str) -> str:
    """Return ``CrashLoop`` as ``Crash loop``: a reason as prose."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", camel).split(" ")
    return " ".join([parts[0], *(part if part.isupper() else part.lower() for part in parts[1:])])
