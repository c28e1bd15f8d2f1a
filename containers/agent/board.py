"""What is known now: the session and what else is reported. Whoever learns something writes it here.

Facts come in through `learn` and nowhere else; `session` says what they mean. Listeners are told of every change, on
the event loop, and look for themselves at what it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from .facts import Fact, Hook
from .ledger import Acknowledgement
from .session import Session, apply, settle, without_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """What is reported besides the session."""

    clients: int = 0
    refs_version: str | None = None
    inputs: tuple[Acknowledgement, ...] = ()
    credentials: bool = False


class Board:
    """The newest of everything.

    Attributes:
        session: what Claude is doing.
        view: what else is reported.
    """

    def __init__(self, session_id: str) -> None:
        self.session = Session("starting", time.time(), session_id=session_id)
        self.view = View()
        self._session_started_at: float | None = None
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after every change."""
        self._listeners.append(listener)

    def learn(self, fact: Fact) -> None:
        """Take in one more fact."""
        if isinstance(fact, Hook) and fact.name == "SessionStart":
            self._session_started_at = fact.at
        self._become(settle(apply(self.session, fact), time.time()))

    def look_at_clock(self) -> None:
        """Take in that time went by."""
        now = time.time()
        self._become(without_file(settle(self.session, now), self._session_started_at, now))

    def explain(self, detail: str) -> None:
        """Say for a person why the session is as it is."""
        self._become(replace(self.session, detail=detail))

    def see(self, view: View) -> None:
        """Take in what else is reported."""
        if view != self.view:
            self.view = view
            self._tell()

    def _become(self, session: Session) -> None:
        if session == self.session:
            return
        before, self.session = self.session, session
        if before.state != session.state:
            logger.info("session changed", extra={"cco_from": before.state, "cco_state": session.state})
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
