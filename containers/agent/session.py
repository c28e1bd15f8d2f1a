"""What Claude is doing, derived from facts in order: pure, so every rule is a row of a table in its test.

Two sources, each with a hole. Hooks tell events at once and in detail, but none fires when a person denies a
permission or interrupts a turn. Claude's session file tells a state and is polled. So: a hook moves the state at
once; where the file has said something else for `PATIENCE` seconds, the file is right; the death of the process
overrules both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from .facts import Died, Fact, FileStatus, Hook, Launched

State = Literal["starting", "working", "waiting", "idle", "exited"]

PATIENCE = 1.0
"""Seconds for which file and hooks may disagree."""

PERMISSION = "permission prompt"
QUESTION = "input needed"
DIALOG = "dialog open"


@dataclass(frozen=True, slots=True)
class Session:
    """What Claude is doing, and what is needed to follow it further.

    Attributes:
        since: when `state` began.
        waiting_for: what a person is asked for, while waiting.
        tool: the tool that runs or asks.
        session_id: the conversation, which `/clear` changes.
        detail: a sentence for a person: why it does not start, why the last turn failed.
        options: the answers that the open question offers, if it is one that can be answered by typing.
        last_activity: the newest sign of life.
        ending: Claude said that it ends; nothing is to be typed any more.
        prompted: the start goes on into a turn by itself.
        asking: which sub-agent asked, about which tool.
        calls: the tool calls that run or wait for a permission: id and tool.
        moved_at: when a hook last moved the state.
        file: the newest word of the session file.
    """

    state: State
    since: float
    waiting_for: str | None = None
    tool: str | None = None
    pid: int | None = None
    session_id: str | None = None
    exit_status: int | None = None
    exit_signal: int | None = None
    detail: str | None = None
    options: tuple[str, ...] = ()
    last_activity: float | None = None
    ending: bool = False
    prompted: bool = False
    asking: tuple[str | None, str | None] | None = None
    calls: tuple[tuple[str, str], ...] = ()
    moved_at: float = 0.0
    file: FileStatus | None = None

    @property
    def takes_prompt(self) -> bool:
        """Claude's input box is on the screen and waits for a prompt, by its own word as well.

        The Stop hook alone comes too early: until it has ended, Claude puts a prompt into a queue, and what comes
        out of that has lost the blanks at its beginning.
        """
        is_at_rest = self.file is None or self.file.state == "idle"
        return self.state == "idle" and is_at_rest and not self.ending

    @property
    def takes_answer(self) -> bool:
        """A question is on the screen that can be answered by typing."""
        asked = self.state == "waiting" and self.waiting_for == QUESTION
        return asked and bool(self.options) and not self.ending

    @property
    def has_dialog_ahead(self) -> bool:
        """A dialog is on the screen, or may come up before anybody hears of it.

        Claude opens a permission dialog while its hook runs, but only after PreToolUse was answered.
        """
        return self.state not in {"idle", "working"} or bool(self.calls)


def derive(facts: Iterable[Fact], *, now: float) -> Session:
    """The session after all facts, at `now`."""
    session = Session("starting", now)
    first = True
    for fact in facts:
        session = apply(replace(session, since=fact.at) if first else session, fact)
        first = False
    return settle(session, now)


def apply(session: Session, fact: Fact) -> Session:
    """The session after one more fact."""
    if session.state == "exited":
        return session
    match fact:
        case Launched():
            return replace(
                session, pid=fact.pid, session_id=fact.session_id, prompted=fact.prompted, since=fact.at, detail=None
            )
        case Died():
            ended = _move(session, "exited", fact.at, detail=fact.detail)
            return replace(ended, exit_status=fact.status, exit_signal=fact.signal)
        case FileStatus():
            return _apply_file(replace(session, last_activity=_later(session.last_activity, fact.at)), fact)
        case Hook():
            seen = replace(session, last_activity=_later(session.last_activity, fact.at))
            return _apply_hook(seen, fact)


def settle(session: Session, now: float) -> Session:
    """Let the session file overrule the hooks where it has disagreed for long enough."""
    file = session.file
    if file is None or session.state in {"exited", file.state}:
        return session
    if now - max(file.at, session.moved_at) < PATIENCE:
        return session
    return _move(session, file.state, max(file.at, session.since), waiting_for=file.waiting_for)


def _apply_file(session: Session, file: FileStatus) -> Session:
    session = replace(session, file=file, session_id=file.session_id or session.session_id)
    if session.state == "starting" and not (session.prompted and file.state == "idle"):
        # Unlike SessionStart, this says that the input box is on the screen.
        return _move(session, file.state, file.at, waiting_for=file.waiting_for)
    if session.state == "waiting" and file.state == "waiting":
        return replace(session, waiting_for=file.waiting_for)
    return session


def _apply_hook(session: Session, hook: Hook) -> Session:
    session = replace(session, session_id=hook.session_id or session.session_id)
    rule = _RULES.get(hook.name)
    return rule(session, hook) if rule is not None else session


def _on_start(session: Session, _: Hook) -> Session:
    # Claude's screen comes later; the session file tells when. Without one, see `without_file`.
    return replace(session, ending=False)


def _on_end(session: Session, hook: Hook) -> Session:
    # /clear and /resume end a conversation, not the process.
    return replace(session, ending=hook.reason not in {"clear", "resume"})


def _on_prompt(session: Session, hook: Hook) -> Session:
    return _by_hook(replace(session, prompted=False, ending=False), "working", hook)


def _on_tool_begin(session: Session, hook: Hook) -> Session:
    session = replace(session, calls=(*session.calls, (hook.call or "", hook.tool or "")))
    # While one agent asks, another agent's tools go on and say nothing about the question.
    if session.state == "waiting":
        return session
    return _by_hook(session, "working", hook, tool=hook.tool)


def _on_tool_end(session: Session, hook: Hook) -> Session:
    calls = tuple(call for call in session.calls if call[0] != hook.call)
    session = replace(session, calls=calls)
    if session.state == "waiting" and session.asking not in {None, (hook.agent, hook.tool)}:
        return session
    return _by_hook(session, "working", hook, tool=calls[-1][1] if calls else None)


def _on_permission(session: Session, hook: Hook) -> Session:
    asked = _by_hook(session, "waiting", hook, tool=hook.tool)
    waiting_for = QUESTION if hook.tool == "AskUserQuestion" else PERMISSION
    return replace(asked, waiting_for=waiting_for, asking=(hook.agent, hook.tool), options=hook.options)


def _on_notification(session: Session, hook: Hook) -> Session:
    # Late (six seconds) and without detail: worth something only where nothing else was seen.
    waiting_for = _NOTIFIED.get(hook.notification or "")
    if waiting_for is None or session.state != "working":
        return session
    return replace(_by_hook(session, "waiting", hook, tool=session.tool), waiting_for=waiting_for)


def _on_stop(session: Session, hook: Hook) -> Session:
    return _by_hook(session, "working" if hook.agents_run else "idle", hook)


def _on_failure(session: Session, hook: Hook) -> Session:
    return replace(_by_hook(session, "idle", hook), detail=f"the last turn failed: {hook.trouble or 'no reason given'}")


_NOTIFIED = {"permission_prompt": PERMISSION, "agent_needs_input": DIALOG}
_RULES: dict[str, Callable[[Session, Hook], Session]] = {
    "SessionStart": _on_start,
    "SessionEnd": _on_end,
    "UserPromptSubmit": _on_prompt,
    "PreToolUse": _on_tool_begin,
    "PostToolUse": _on_tool_end,
    "PostToolUseFailure": _on_tool_end,
    "PermissionRequest": _on_permission,
    "Notification": _on_notification,
    "Stop": _on_stop,
    "StopFailure": _on_failure,
}


def without_file(session: Session, started_at: float | None, now: float) -> Session:
    """The session of a client that writes no session file: ready a while after SessionStart."""
    ready = started_at is not None and session.file is None and now - started_at >= 3 * PATIENCE
    return _move(session, "idle", now) if ready and session.state == "starting" else session


def _by_hook(session: Session, state: State, hook: Hook, *, tool: str | None = None) -> Session:
    return replace(_move(session, state, hook.at, tool=tool), moved_at=hook.at)


def _move(
    session: Session,
    state: State,
    at: float,
    *,
    waiting_for: str | None = None,
    tool: str | None = None,
    detail: str | None = None,
) -> Session:
    since = session.since if state == session.state else at
    return replace(
        session,
        state=state,
        since=since,
        waiting_for=waiting_for,
        tool=tool,
        detail=detail,
        options=(),
        asking=None,
        calls=() if state == "idle" else session.calls,
    )


def _later(known: float | None, at: float) -> float:
    return at if known is None else max(known, at)
