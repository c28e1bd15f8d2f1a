"""The agent's life: wait for credentials, start Claude, tell the controller what happens, end with Claude.

`Supervisor` owns the parts and the order of things, on one event loop. `claude` runs the process, `board` holds what
is known, `reporter` tells it, `delivery` brings prompts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import conversation, credentials, facts, layouts
from .board import Board
from .claude import Claude
from .config import InstanceConfig
from .delivery import FIRST_PROMPT, Delivery
from .disk import DiskMeter
from .hooks import EventSocket
from .ledger import Ledger
from .link import Link
from .places import Places
from .reporter import Reporter
from .session import Session
from .terminal import Ending, TerminalError
from .usage import UsageMeter

logger = logging.getLogger(__name__)

LEARN_TIMEOUT = 0.5
FAILED = 70
"""Exit status when the agent cannot do its work, or does not know Claude's (sysexits.h, EX_SOFTWARE)."""


class Supervisor:
    """One instance's agent; use it once.

    Args:
        config: what to run.
        places: where files are; `Places.prepare` was called.
        program: Claude Code's program, with arguments of our own.
        usage: what `UsageMeter` measures.
    """

    def __init__(
        self, config: InstanceConfig, places: Places, program: Sequence[str] = ("claude",), usage: str = "cgroup"
    ) -> None:
        self._config = config
        self._places = places
        self._board = Board(config.session_id)
        self._claude = Claude(config, places, self._board, program)
        self._notes_file = places.notes / "session.json"
        self._notes = conversation.read_notes(self._notes_file, config.session_id)
        self._ledger = Ledger(places.notes / "inputs.json")
        self._delivery = Delivery(self._ledger, places.pending_prompt, self, self._inputs_changed)
        self._link = Link(places.controller_socket, self._receive, self._connected)
        self._disk = DiskMeter((config.workdir, config.git_dir), places.home)
        meter = UsageMeter(places.system, by_processes=usage == "processes")
        self._reporter = Reporter(config, self._board, self._link, meter, self._disk)
        self._events = EventSocket(places.event_socket, self._on_event)
        self._board.listen(self._delivery.look)
        self._have_credentials = asyncio.Event()
        self._stop = asyncio.Event()
        self._inputs_changed()

    @property
    def session(self) -> Session:
        """What Claude is doing now."""
        return self._board.session

    def stop(self) -> None:
        """End gracefully, as SIGTERM asks; `run` returns soon after. Idempotent."""
        self._stop.set()

    async def run(self) -> int:
        """Live; returns the exit status: Claude's own (128 + signal), or 0 after `stop`."""
        await self._events.open()
        helpers = [asyncio.create_task(part.run()) for part in (self._link, self._reporter, self._delivery, self._disk)]
        life = asyncio.create_task(self._live())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            # A helper never returns; if one fails, the exception is this method's.
            await asyncio.wait({life, stopped, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            for helper in helpers:
                if helper.done():
                    helper.result()
            status = await self._end(life) if self._stop.is_set() else life.result()
            await self._reporter.flush()
            await self._claude.end_terminal()
        finally:
            for task in (*helpers, life, stopped):
                task.cancel()
            await asyncio.gather(*helpers, life, stopped, return_exceptions=True)
            await self._events.close()
            self._claude.close()
        return status

    async def _live(self) -> int:
        """From the start of Claude to its end."""
        try:
            layout = await self._layout()
            _check_workdir(self._config.workdir)
            self._claude.seed()
            self._delivery.settle_unfinished()
            if not self._have_credentials.is_set():
                self._board.explain("waiting for credentials from the controller")
            await self._have_credentials.wait()
            how = await self._claude.start(layout, self._notes)
            if how.typed_prompt is not None:
                self._delivery.add(FIRST_PROMPT, how.typed_prompt)
            return _exit_status(await self._claude.watch())
        except (OSError, TerminalError) as error:
            logger.error("instance could not be run", extra={"cco_error": str(error)})  # noqa: TRY400 - for people
            self._board.learn(facts.Died(time.time(), None, None, f"Claude could not be run: {error}"))
            return FAILED

    async def _layout(self) -> layouts.Layout:
        try:
            return layouts.find(self._config.layout)
        except layouts.UnknownLayoutError as error:
            # Starting again would not help: say what is wrong and wait to be configured anew.
            self._board.explain(str(error))
            await asyncio.Event().wait()
            raise

    async def _end(self, life: asyncio.Task[int]) -> int:
        """End Claude within the time a container has, and let `_live` see how it went."""
        self._board.explain("stopping")
        await self._claude.end()
        if self._claude.started:
            await asyncio.wait({life}, timeout=LEARN_TIMEOUT)
        return 0

    async def _on_event(self, event: dict[str, Any]) -> None:
        if event.get("cco_event") == "prompt-taken":
            self._delivery.on_taken(event.get("pid"))
            return
        hook = facts.read_hook(event, time.time())
        if hook is None:
            return
        self._remember(hook)
        self._board.learn(hook)
        await self._delivery.on_hook(hook)

    def _remember(self, hook: facts.Hook) -> None:
        """Keep in HOME which conversation is the newest, for the next start."""
        notes = self._notes
        if hook.name == "SessionStart":
            notes = notes.followed(hook.session_id)
        elif not notes.prompted and conversation.transcript(self._places.claude, notes.newest) is not None:
            notes = replace(notes, prompted=True)
        if notes == self._notes:
            return
        self._notes = notes
        try:
            conversation.write_notes(self._notes_file, notes)
        except OSError as error:
            logger.warning("notes were not written", extra={"cco_error": str(error)})

    def _connected(self) -> None:
        self._reporter.connected()

    def _receive(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "credentials", "values": dict(values)}:
                self._take_credentials(values)
            case {"type": "input", "id": str(input_id), "text": str(text)}:
                self._delivery.add(input_id, text)
            case _:
                logger.warning("message was not understood", extra={"cco_type": str(message["type"])[:100]})

    def _take_credentials(self, values: dict[str, object]) -> None:
        try:
            changed = credentials.store(self._places.secrets, values)
        except OSError as error:
            self._board.explain(f"the credentials could not be stored: {error}")
            return
        present = credentials.kind(self._places.secrets) is not None
        if changed:
            logger.info("credentials were stored", extra={"cco_present": present})
        self._board.see(replace(self._board.view, credentials=present))
        if present:
            self._have_credentials.set()
        elif self.session.state == "starting":
            self._board.explain("the controller has no credentials for Claude")

    def _inputs_changed(self) -> None:
        told = tuple(entry for entry in self._ledger.newest if entry.id != FIRST_PROMPT)
        self._board.see(replace(self._board.view, inputs=told))

    async def press(self, *keys: str) -> None:
        """Press keys in Claude's pane.

        Raises:
            TerminalError: the pane is gone.
        """
        await self._claude.press(*keys)

    def reads_keys(self) -> bool:
        """Whether a key that is pressed now reaches Claude as that key."""
        return self._claude.reads_keys()

    async def screen(self) -> str:
        """What Claude's pane shows.

        Raises:
            TerminalError: the pane is gone.
        """
        return await self._claude.screen()

    def heard_so_far(self) -> int:
        """How long the newest conversation is, for `was_said`."""
        path = conversation.transcript(self._places.claude, self._notes.newest)
        return path.stat().st_size if path is not None else 0

    def was_said(self, text: str, offset: int = 0) -> bool:
        """Whether the newest conversation holds this text, from there on."""
        path = conversation.transcript(self._places.claude, self._notes.newest)
        return path is not None and conversation.was_said(path, text, offset)


def _exit_status(ending: Ending) -> int:
    if ending.signal is not None:
        return 128 + ending.signal
    return FAILED if ending.status is None else ending.status


def _check_workdir(workdir: Path) -> None:
    """Refuse to begin elsewhere: tmux would take HOME instead of a folder it cannot enter, and say nothing.

    Raises:
        PermissionError: a folder on the way is closed to this user, in the image or in the repository.
    """
    if not os.access(workdir, os.R_OK | os.W_OK | os.X_OK):
        msg = f"uid {os.getuid()} cannot work in {workdir}: check who may enter it and the folders above it"
        raise PermissionError(msg)
