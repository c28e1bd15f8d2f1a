"""Prompts from the controller into Claude's input box: one at a time, only when Claude takes one, never twice.

A prompt is not typed. It is left in a file, Ctrl+G makes Claude open its external editor on its input box, and the
editor is ours (`editor`): it takes the file and replaces the box's content. That is verbatim at any length, does
nothing while a dialog is on the screen (Claude opens no editor there), and whether it happened is known for sure:
the file was taken or it was not. Then Enter; Claude's UserPromptSubmit hook with the same text is the proof, and the
acknowledgement waits for the text to be in Claude's transcript, so what was accepted outlives the container.

Every step is noted in `ledger` before it is made. Interrupted by the end of the container, an input is looked for in
the conversation; if it is not there it is rejected, because nobody can know, and a person decides.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from . import files, process
from .conversation import comparable
from .facts import Hook
from .ledger import Ledger
from .session import Session
from .terminal import TerminalError

logger = logging.getLogger(__name__)

FIRST_PROMPT = "first-prompt"
"""The id of the declared prompt when it is too long for a command line; it is nobody's input."""
TAKE_TIMEOUT = 2.0
ENTER_EVERY = 0.25
CONFIRM_TIMEOUT = 15.0
COMMAND_TIMEOUT = 2.0
RETRY = 2.0
KEEP_TIMEOUT = 3.0
KEEP_POLL = 0.05
KEYS_POLL = 0.01
ATTEMPTS = 5
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_COMMAND = re.compile(r"/[A-Za-z][\w:-]*(\s|\Z)")


class Desk(Protocol):
    """What a delivery needs of the rest."""

    @property
    def session(self) -> Session:
        """What Claude is doing now."""

    def press(self, *keys: str) -> Awaitable[None]:
        """Press keys in Claude's pane; raises TerminalError when it is gone."""

    def reads_keys(self) -> bool:
        """Whether a key that is pressed now reaches Claude as that key."""

    def screen(self) -> Awaitable[str]:
        """What Claude's pane shows; raises TerminalError when it is gone."""

    def heard_so_far(self) -> int:
        """How long the conversation is."""

    def was_said(self, text: str, offset: int = 0) -> bool:
        """Whether the conversation holds this text, from there on."""


@dataclass(slots=True)
class _Current:
    """The input that is being delivered."""

    id: str
    text: str
    answer: bool
    offset: int
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_command(self) -> bool:
        return not self.answer and _COMMAND.match(self.text) is not None


class Delivery:
    """The queue of inputs and the one that is being delivered.

    Args:
        ledger: what became of inputs, now and before.
        pending: the file through which the editor gets a prompt.
        desk: Claude's session and terminal.
        changed: called when an acknowledgement was added.
    """

    def __init__(self, ledger: Ledger, pending: Path, desk: Desk, changed: Callable[[], None]) -> None:
        self._ledger = ledger
        self._pending = pending
        self._desk = desk
        self._changed = changed
        self._queue: OrderedDict[str, str] = OrderedDict()
        self._current: _Current | None = None
        self._wake = asyncio.Event()
        self._pressing = asyncio.Lock()

    def add(self, input_id: str, text: str) -> None:
        """Queue an input; one that is known already is passed over."""
        if self._ledger.knows(input_id) or input_id in self._queue:
            return
        # Claude's input box drops control characters by itself; without them the proof can be recognised.
        normal = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        if not normal.strip():
            self._end(input_id, accepted=False, reason="the prompt is empty")
            return
        self._queue[input_id] = normal
        self._wake.set()

    def look(self) -> None:
        """Claude's session changed: see whether it takes something now."""
        self._wake.set()

    async def on_hook(self, hook: Hook) -> None:
        """A hook fired: it may be the proof that is waited for.

        Returns when no key is on its way any more. Claude waits for that, so an Enter that was pressed too often
        cannot meet the dialog that the turn may open.
        """
        self._match(hook)
        async with self._pressing:
            pass

    def _match(self, hook: Hook) -> None:
        current = self._current
        if current is None:
            return
        wanted = comparable(current.text)
        if current.answer:
            proof = hook.name == "PostToolUse" and any(comparable(answer) == wanted for answer in hook.answers)
        else:
            said = hook.name == "UserPromptSubmit" and comparable(hook.prompt or "") == wanted
            proof = said or (current.is_command and hook.name in {"SessionStart", "PreCompact", "UserPromptExpansion"})
        if proof:
            current.confirmed.set()

    def on_taken(self, editor: object) -> None:
        """The editor, a process with this id, took the prompt and is about to end."""
        current = self._current
        if current is None:
            return
        if not isinstance(editor, int) or process.watch(editor, current.taken.set) is None:
            current.taken.set()

    def settle_unfinished(self) -> None:
        """Decide about what an earlier container was typing when it ended. Before Claude starts."""
        for left in self._ledger.unfinished:
            if self._desk.was_said(left.text):
                self._end(left.id, accepted=True)
            elif left.id == FIRST_PROMPT:
                self._ledger.withdraw(left.id)  # as one on a command line is: given again until Claude has it
            else:
                reason = "the container ended while this was being typed; Claude has no note of it"
                self._end(left.id, accepted=False, reason=reason)

    async def run(self) -> None:
        """Deliver what is queued, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._deliver_all()
            except TerminalError as error:
                # Claude is ending; what was begun is settled by the next container.
                logger.info("delivery was cut off", extra={"cco_error": str(error)})
            except OSError as error:
                logger.warning("delivery failed", extra={"cco_error": str(error)})
                asyncio.get_running_loop().call_later(RETRY, self._wake.set)

    async def _deliver_all(self) -> None:
        while self._queue and self._open_for():
            input_id, text = next(iter(self._queue.items()))
            if not await self._deliver(input_id, text):
                return

    def _open_for(self) -> bool:
        session = self._desk.session
        return session.takes_prompt or session.takes_answer

    async def _deliver(self, input_id: str, text: str) -> bool:
        """Deliver one input; returns whether it is settled."""
        for _ in range(ATTEMPTS):
            if not self._open_for():
                return False
            session = self._desk.session
            if session.takes_answer and not await self._sees(session.options):
                return False
            self._current = _Current(input_id, text, session.takes_answer, self._desk.heard_so_far())
            try:
                if await self._enter_text(self._current, session):
                    await self._submit(self._current)
                    return True
            finally:
                self._current = None
        del self._queue[input_id]
        reason = "Claude's input box did not open: look at the terminal, something else may be on the screen"
        self._end(input_id, accepted=False, reason=reason)
        return True

    async def _enter_text(self, current: _Current, session: Session) -> bool:
        """Get the text into the box; returns False when it surely is not there."""
        # A backslash before Enter would make a new line; Claude drops blanks at the end.
        content = f"{current.text} " if current.text.endswith("\\") else current.text
        self._ledger.begin(current.id, current.text, time.time())
        files.replace(self._pending, content.encode())
        # For a question: to "Type something", by its number. Otherwise: out of a shell command somebody may have begun.
        keys = [str(len(session.options) + 1)] if current.answer else ["C-u", "BSpace"]
        await self._press(*keys, "C-g")
        try:
            async with asyncio.timeout(TAKE_TIMEOUT):
                await current.taken.wait()
        except TimeoutError:
            if self._withdraw():
                logger.info("prompt was not taken", extra={"cco_input": current.id})
                self._ledger.withdraw(current.id)
                return False
        await self._wait_for_keys()
        return True

    async def _wait_for_keys(self) -> None:
        """The editor has ended a moment before Claude reads keys again."""
        deadline = time.monotonic() + TAKE_TIMEOUT
        while not self._desk.reads_keys() and time.monotonic() < deadline:  # noqa: ASYNC110 - a terminal wakes nobody
            await asyncio.sleep(KEYS_POLL)

    async def _press(self, *keys: str) -> None:
        async with self._pressing:
            await self._desk.press(*keys)

    def _withdraw(self) -> bool:
        """Take the prompt back; returns False when the editor has it."""
        try:
            self._pending.unlink()
        except FileNotFoundError:
            return False
        return True

    async def _submit(self, current: _Current) -> None:
        """Press Enter until Claude confirms, and note how it ended."""
        deadline = time.monotonic() + (COMMAND_TIMEOUT if current.is_command else CONFIRM_TIMEOUT)
        presses = 0
        while time.monotonic() < deadline and not current.confirmed.is_set():
            if self._may_submit(current, presses):
                await self._press("Enter")
                presses += 1
            elif presses == 0:
                # The text is in the box and stays there while a person answers a dialog.
                deadline += ENTER_EVERY
            try:
                async with asyncio.timeout(ENTER_EVERY):
                    await current.confirmed.wait()
            except TimeoutError:
                continue
        self._queue.pop(current.id, None)
        if current.confirmed.is_set():
            await self._wait_until_kept(current)
            self._end(current.id, accepted=True)
        elif self._desk.was_said(current.text, current.offset):
            self._end(current.id, accepted=True)
        elif current.is_command:
            self._end(current.id, accepted=True, reason="typed; Claude does not confirm its own commands")
        else:
            reason = "Claude did not confirm the prompt: look at the terminal before you send it again"
            self._end(current.id, accepted=False, reason=reason)

    def _may_submit(self, current: _Current, presses: int) -> bool:
        """Whether Enter can do no harm: on an empty box it does nothing, in a dialog it would be an answer."""
        session = self._desk.session
        if current.answer:
            return session.takes_answer
        if session.has_dialog_ahead or (presses and current.is_command):
            return False
        return presses == 0 or session.takes_prompt

    async def _sees(self, options: tuple[str, ...]) -> bool:
        """Whether the question is on the screen by now: it is told before it is drawn."""
        deadline = time.monotonic() + TAKE_TIMEOUT
        while time.monotonic() < deadline and self._desk.session.takes_answer:
            screen = await self._desk.screen()
            if all(f"{number}. {label[:20]}" in screen for number, label in enumerate(options, 1)):
                return True
            await asyncio.sleep(KEEP_POLL)
        return False

    async def _wait_until_kept(self, current: _Current) -> None:
        """Claude writes its transcript a moment later; what is acknowledged is to survive the container."""
        if current.answer or current.is_command:
            return
        deadline = time.monotonic() + KEEP_TIMEOUT
        # A file wakes nobody.
        while not self._desk.was_said(current.text, current.offset) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(KEEP_POLL)

    def _end(self, input_id: str, *, accepted: bool, reason: str | None = None) -> None:
        self._ledger.end(input_id, "accepted" if accepted else "rejected", reason, time.time())
        outcome = {"cco_input": input_id, "cco_accepted": accepted, "cco_reason": reason}
        logger.info("input was settled", extra=outcome)
        self._changed()
