"""Claude's process, from the declaration to how it ended: start it in tmux, watch it, end it.

`supervisor` calls the public verbs in that order. What is seen goes to the board; tmux runs in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from . import command, conversation, credentials, facts, process, seeding, viewers
from .board import Board
from .config import InstanceConfig
from .layouts import Layout
from .places import Places
from .refs import RefsWatch
from .session_file import SessionFile
from .terminal import Ending, Terminal, TerminalError

logger = logging.getLogger(__name__)

POLL = 0.5
"""Seconds between two looks at the session file and the refs."""
POLL_SOON = 0.05
STOP_TIMEOUT = 4.0
ENDING_TIMEOUT = 2.0
CALL_TIMEOUT = 10.0

T = TypeVar("T")


class Claude:
    """One Claude Code process in its tmux session; started once.

    Args:
        config: what to run.
        places: where files are.
        board: where to write what is seen.
        program: Claude Code's program, with arguments of our own.
    """

    def __init__(self, config: InstanceConfig, places: Places, board: Board, program: Sequence[str]) -> None:
        self._config = config
        self._places = places
        self._board = board
        self._program = program
        self._terminal = Terminal(config.tmux_session)
        self._refs = RefsWatch(config.git_dir)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tmux")
        self._died = asyncio.Event()
        self._pid: int | None = None

    @property
    def started(self) -> bool:
        """Whether there is or was a process."""
        return self._pid is not None

    def seed(self) -> None:
        """Make HOME such that no dialog comes up. Idempotent.

        Raises:
            OSError: HOME cannot be written.
        """
        trusted = seeding.trusted_folders(self._config.workdir, self._config.git_dir)
        seeding.seed(self._places.claude_json, trusted)
        seeding.drop_stale_sessions(self._places.claude)

    async def start(self, layout: Layout, notes: conversation.Notes) -> command.Command:
        """Start it; the credentials are there.

        Raises:
            OSError: HOME, the scratch folder or the secrets cannot be used.
            TerminalError: tmux cannot start.
        """
        aside = conversation.set_aside_unusable(self._places.claude, notes.newest)
        if aside is not None:
            logger.warning("conversation is unusable; a new one begins", extra={"cco_kept": str(aside)})
        how = command.build(self._config, notes, self._places.claude, self._program)
        api_key = credentials.kind(self._places.secrets) == credentials.API_KEY
        helper = credentials.helper_command(self._places.secrets)
        seeding.set_key_helper(self._places.claude / "settings.json", helper, wanted=api_key)
        command.write_launch_file(self._places, how)
        os.environ.update(command.environment(self._config, self._places))
        workdir, launch_file = self._config.workdir, self._places.launch_file
        self._pid = await self._in_thread(lambda: self._terminal.start(layout, workdir, launch_file))
        self._board.learn(facts.Launched(time.time(), self._pid, how.session_id, how.first_prompt))
        logger.info("claude was started", extra={"cco_pid": self._pid, "cco_session": how.session_id})
        return how

    async def watch(self) -> Ending:
        """Look at what tells nothing by itself, until Claude is dead; returns how it ended.

        Raises:
            RuntimeError: it was not started.
        """
        pid = self._pid
        if pid is None:
            raise RuntimeError("claude was not started")
        file = SessionFile(self._places.claude, pid)
        unwatch = process.watch(pid, self._died.set)
        connections = 0
        try:
            while not self._died.is_set():
                status = file.changed(time.time())
                if status is not None:
                    self._board.learn(status)
                self._board.look_at_clock()
                self._board.see(replace(self._board.view, refs_version=self._refs.version()))
                connections = await self._look_at_viewers(connections)
                if unwatch is None and not process.is_alive(pid):
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SOON if self._is_news_due() else POLL):
                        await self._died.wait()
        finally:
            if unwatch is not None:
                unwatch()
        return await self._learn_ending()

    def _is_news_due(self) -> bool:
        """Whether the session file is about to say that the input box takes a prompt."""
        session = self._board.session
        return session.state == "starting" or (session.state == "idle" and not session.takes_prompt)

    async def end(self) -> None:
        """Let it end by itself, so that it says goodbye to its hooks, or else end it. Idempotent."""
        if self._pid is not None:
            process.end(self._pid)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    await self._died.wait()
            if not self._died.is_set():
                logger.warning("claude did not end by itself", extra={"cco_pid": self._pid})
                process.end(self._pid, force=True)

    async def end_terminal(self) -> None:
        """End tmux and all that runs in it. Idempotent."""
        with contextlib.suppress(TerminalError):
            await self._in_thread(self._terminal.kill)

    async def press(self, *keys: str) -> None:
        """Press keys in Claude's pane.

        Raises:
            TerminalError: the pane is gone.
        """
        await self._in_thread(lambda: self._terminal.press(*keys))

    def reads_keys(self) -> bool:
        """Whether a key that is pressed now reaches Claude as that key."""
        return self._terminal.reads_keys()

    async def screen(self) -> str:
        """What Claude's pane shows.

        Raises:
            TerminalError: the pane is gone.
        """
        return await self._in_thread(self._terminal.screen)

    def close(self) -> None:
        """Free the threads; a tmux that hangs is left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look_at_viewers(self, before: int) -> int:
        connections = viewers.connections(self._terminal.socket)
        if connections != before:
            clients = await self._in_thread(self._terminal.clients)
            self._board.see(replace(self._board.view, clients=clients))
        return connections

    async def _learn_ending(self) -> Ending:
        """How it ended; tmux learns it a moment after the process is gone."""
        ending: Ending | None = None
        detail = None
        deadline = time.monotonic() + ENDING_TIMEOUT
        try:
            while ending is None and time.monotonic() < deadline:
                ending = await self._in_thread(self._terminal.ending)
                if ending is None:
                    await asyncio.sleep(POLL_SOON)
            if self._board.session.state == "starting":
                detail = await self._last_words()
        except TerminalError as error:
            detail = f"how Claude ended is not known: {error}"
        ending = ending or Ending()
        self._board.learn(facts.Died(time.time(), ending.status, ending.signal, detail))
        logger.info("claude ended", extra={"cco_status": ending.status, "cco_signal": ending.signal})
        return ending

    async def _last_words(self) -> str:
        """What Claude wrote when it refused to start."""
        lines = [line.strip() for line in (await self.screen()).splitlines()]
        said = " ".join(line for line in lines if line and not line.startswith("Pane is dead"))
        return f"Claude did not start: {said[-500:]}" if said else "Claude did not start, and said nothing"

    async def _in_thread(self, call: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                return await future
        except TimeoutError:
            raise TerminalError(f"tmux did not answer within {CALL_TIMEOUT:.0f} s") from None
