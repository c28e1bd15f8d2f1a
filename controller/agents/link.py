"""Links: one listening unix socket per instance, in the folder that is mounted into its container.

Which socket a report came in on is who sent it; there is no token and no network route. All sockets are served by
one thread with one event loop; everything public may be called from any thread. A report that matters puts the
instance's name on the queue through ``on_change``; the reconciler reads it back with :meth:`AgentLinks.heard`.

Whatever an agent does must cost the others nothing: how often one may connect (``listener``), how much it may say
(``connection``), how many passes it may cause and how much it may have logged are all bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from pydantic import ValidationError

from controller.errors import Retryable

from .allowance import Allowance
from .connection import Connection, Share
from .credentials import CurrentCredentials
from .listener import Listener
from .protocol import Heard
from .report import AgentConfig, Report, is_from_another_version

logger = logging.getLogger(__name__)

CONFIG_NAME = "instance.json"
CALL_TIMEOUT = 5.0
SEND_TIMEOUT = 3.0
"""Less than a call may take, so that the caller is told what became of it."""
WAKES_PER_SECOND = 20
"""Passes that one agent may cause; what comes after them in the same second causes one at its end."""
WARNING_SECONDS = 60.0
"""Between two warnings about what one agent says."""

T = TypeVar("T")


@dataclass(slots=True)
class _Link:
    name: str
    uid: str
    directory: Path
    listener: Listener | None = None
    connection: Connection | None = None
    told: dict[str, str] | None = None
    report: Report | None = None
    received: float = 0.0
    opened: float = 0.0
    handed_over: set[str] = field(default_factory=set)
    share: Share = field(default_factory=Share)
    wakes: Allowance = field(default_factory=lambda: Allowance(WAKES_PER_SECOND))
    waking: asyncio.TimerHandle | None = None
    warnings: Allowance = field(default_factory=lambda: Allowance(1, WARNING_SECONDS))
    not_logged: int = 0

    @property
    def is_listening(self) -> bool:
        """Whether an agent can connect; a socket file alone may be one that a dead controller left."""
        return self.listener is not None and self.listener.is_there


class AgentLinks:
    """See the module's docstring.

    Args:
        directory: returns the folder (``run``) of an instance by its name.
        credentials: returns the current credentials; called for every new connection and, once a second at most, for
            reports, so that an agent has changed ones with the first or second heartbeat.
        on_change: called with the instance's name when a report differs in what matters.
        fence: called before a socket takes the place of one that is there; raises when another controller has taken
            over, whose it may be.
    """

    def __init__(
        self,
        directory: Callable[[str], Path],
        credentials: Callable[[], Mapping[str, str]],
        on_change: Callable[[str], None],
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        self._fence = fence
        self._directory = directory
        self._credentials = CurrentCredentials(credentials)
        self._on_change = on_change
        self._links: dict[str, _Link] = {}
        self._lock = threading.Lock()
        self._loop = uvloop.new_event_loop()  # a report costs a third less than with the one of the standard library
        self._thread = threading.Thread(target=self._loop.run_forever, name="agent-links", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close every socket and end the thread; idempotent."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(Retryable):  # the process ends, and the rest with it
            for uid in list(self._links):
                self.forget(uid)
            self._call(self._end_connections())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT)
        if not self._thread.is_alive():
            self._loop.close()

    def open(self, name: str, uid: str) -> None:
        """Listen for the agent of an instance; idempotent, and repairs a socket file that was removed.

        Raises:
            Retryable: ``StateDirectoryUnusable``, ``Busy``.
            Fenced: see ``fence``.
        """
        directory = self._directory(name)
        with self._lock:
            link = self._links.get(uid)
            if link is not None and link.is_listening:
                return
        self._fence()
        with self._lock:
            link = self._links.get(uid) or _Link(name, uid, directory)
            self._links[uid] = link
        with _writing(directory):
            self._call(self._listen(link))

    def forget(self, uid: str) -> None:
        """Stop listening for an instance and drop what it said; idempotent.

        Raises:
            Retryable: ``Busy``; it is done as soon as they are not.
        """
        with self._lock:
            link = self._links.pop(uid, None)
        if link is not None:
            self._call(self._shut(link))

    def heard(self, uid: str) -> Heard | None:
        """Return the newest report of an instance, or ``None`` when it never said anything to this process."""
        with self._lock:
            link = self._links.get(uid)
            if link is None or link.report is None:
                return None
            # While nobody listened here, the agent could say nothing.
            age = max(time.monotonic() - max(link.received, link.opened), 0.0)
            return Heard(link.report, age, link.connection is not None, frozenset(link.handed_over))

    def listening_for(self, uid: str) -> float:
        """Return the seconds since this process has listened at the instance's socket; 0 when it does not."""
        link = self._links.get(uid)
        return 0.0 if link is None or link.listener is None else time.monotonic() - link.opened

    def all_heard(self) -> dict[str, Heard]:
        """Return the newest report of every instance by uid."""
        return {uid: heard for uid in list(self._links) if (heard := self.heard(uid)) is not None}

    def configure(self, config: AgentConfig) -> None:
        """Write ``instance.json`` atomically, readable inside the container; idempotent.

        Raises:
            Retryable: ``StateDirectoryUnusable``.
        """
        directory = self._directory(config.name)
        temporary = directory / f".{CONFIG_NAME}.new"
        with _writing(directory):
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            directory.chmod(0o755)
            temporary.unlink(missing_ok=True)  # one that a crash left is read-only
            temporary.write_text(config.model_dump_json(by_alias=True), encoding="utf-8")
            temporary.chmod(0o444)
            temporary.replace(directory / CONFIG_NAME)

    def send_input(self, uid: str, input_id: str, text: str) -> bool:
        """Hand a prompt to the agent; returns whether it went out. Handing it over twice does no harm.

        Raises:
            Retryable: ``Busy``.
        """
        with self._lock:
            link = self._links.get(uid)
        return link is not None and self._call(self._send_input(link, input_id, text))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        called = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return called.result(CALL_TIMEOUT)
        except TimeoutError as error:
            if called.done():  # its own
                raise
            message = f"the links to the agents have been busy for {CALL_TIMEOUT:g} s: it is tried again"
            raise Retryable("Busy", f"{message}; if it goes on, see the controller's log") from error

    async def _listen(self, link: _Link) -> None:
        # Never waits for anything, so nobody else comes between: neither does what shuts.
        if link.is_listening:  # somebody else asked for it at the same moment
            return
        await self._shut(link)
        link.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        conversation = _Conversation(self, link)
        link.listener = Listener(link.directory, lambda: Connection(conversation, link.share))
        link.opened = time.monotonic()

    async def _shut(self, link: _Link) -> None:
        if link.connection is not None:
            link.connection.abort()
            link.connection = None
        if link.listener is not None:
            link.listener.close()
            link.listener = None

    async def _end_connections(self) -> None:
        """Let what was cut off come to its end, so that nothing is open any more when the loop stops."""
        deadline = time.monotonic() + 1.0
        while (rest := asyncio.all_tasks() - {asyncio.current_task()}) and time.monotonic() < deadline:
            await asyncio.wait(rest, timeout=0.1)

    def begin(self, link: _Link, connection: Connection) -> None:
        """Talk with a connection from now on; a newer one replaces an older one."""
        if self._links.get(link.uid) is not link:  # forgotten while this connection came in
            connection.abort()
            return
        if link.connection is not None:
            link.connection.abort()
        with self._lock:
            link.connection = connection
            link.told = None
            link.handed_over.clear()
        self._tell_credentials(link, connection, at_once=True)

    def hear(self, link: _Link, connection: Connection, line: bytes) -> bool:
        """Take in a line, unless it comes from a connection that was replaced; returns whether it may go on so."""
        if link.connection is not connection:
            return True  # what is left of it is not held against the one that replaced it
        if not self._receive(link, line):
            return False
        self._tell_credentials(link, connection)
        return True

    def end(self, link: _Link, connection: Connection) -> None:
        """Note that the agent is not connected any more."""
        if link.connection is connection:
            with self._lock:
                link.connection = None
            self._wake(link)

    def complain(self, link: _Link, what: str, about: Mapping[str, object]) -> None:
        """Log what is wrong with what an agent says; in a minute once, or nothing else could be found in the log."""
        if link.warnings.take(self._loop.time()):
            extra = {"cco_instance": link.name, **about, "cco_not_logged": link.not_logged}
            logger.warning(what, extra=extra)
            link.not_logged = 0
        else:
            link.not_logged += 1

    def _wake(self, link: _Link) -> None:
        now = self._loop.time()
        if link.waking is not None:
            return
        if link.wakes.take(now):
            self._on_change(link.name)
        else:
            link.waking = self._loop.call_later(link.wakes.wait(now), self._wake_late, link)

    def _wake_late(self, link: _Link) -> None:
        link.waking = None
        if self._links.get(link.uid) is link:  # nobody is to look at what is forgotten
            self._wake(link)

    def _tell_credentials(self, link: _Link, connection: Connection, *, at_once: bool = False) -> None:
        """Send the credentials, unless the agent has them; unreadable ones count as none, but take none away."""
        values = self._credentials.look(self._loop.time(), at_once=at_once)
        if values is None:
            if link.told is not None:
                return
            values = {}
        # Where it does not read at the moment, the next report is soon enough.
        if values != link.told and connection.has_room and connection.send(_line(type="credentials", values=values)):
            link.told = values

    def _receive(self, link: _Link, line: bytes) -> bool:
        """Take in a message; returns whether it is one, be it of no use to us."""
        try:
            report = Report.model_validate_json(line)
        except ValidationError as error:
            self.complain(link, "agent message ignored", {"cco_errors": error.error_count()})
            return is_from_another_version(line)
        if report.uid != link.uid:
            self.complain(link, "report of another instance ignored", {})
            return True
        with self._lock:
            before, link.report = link.report, report
            link.received = time.monotonic()
        if before is None or before.significant() != report.significant():
            self._wake(link)
        return True

    async def _send_input(self, link: _Link, input_id: str, text: str) -> bool:
        connection = link.connection
        if connection is None or not connection.send(_line(type="input", id=input_id, text=text)):
            return False
        # What is tried again and again must not pile up here.
        if not await connection.until_read(SEND_TIMEOUT):
            return False
        with self._lock:
            link.handed_over.add(input_id)
        return True


@dataclass(frozen=True, slots=True)
class _Conversation:
    """Joins the connections that come in at an instance's socket to the instance."""

    links: AgentLinks
    link: _Link

    def begin(self, connection: Connection) -> None:
        self.links.begin(self.link, connection)

    def hear(self, connection: Connection, line: bytes) -> bool:
        return self.links.hear(self.link, connection, line)

    def complain(self, what: str, **about: object) -> None:
        self.links.complain(self.link, what, about)

    def end(self, connection: Connection) -> None:
        self.links.end(self.link, connection)


def _line(**message: object) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode() + b"\n"


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{directory} cannot be written: {error.strerror}; see to space and ownership"
        raise Retryable("StateDirectoryUnusable", message) from error
