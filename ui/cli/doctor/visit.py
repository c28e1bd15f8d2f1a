"""One visit of the doctor: the server is asked and this machine looked at, side by side, and both put together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from api.client import ApiError, ClientError, Version
from controller.doctor.database import examine_database, examine_size
from controller.doctor.disk import examine_disk
from controller.doctor.examination import Examiner, Finding, Look, Shared, failed, notable, well
from controller.doctor.leftovers import examine_leftovers, examine_state_directory, examine_token, judge_configuration
from controller.errors import CcoError
from controller.resources.check import Check, CheckStatus, Diagnosis, in_order
from controller.settings import config_path
from ui.cli.failures import Failure
from ui.cli.release import release

from .programs import (
    examine_docker,
    examine_git,
    examine_plugin,
    examine_port,
    examine_terminal,
    examine_tmux,
)

if TYPE_CHECKING:
    from controller.settings import Settings
    from ui.cli.invocation import Invocation

SECONDS = 14.0
"""More than the client waits for the server, so that its words and not ours tell what is wrong."""

CLOCK_SECONDS = 5.0
_START = "cco up, or make up"
_SERVER_LOG = "docker compose logs server, or the terminal of cco up"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said, and when it was asked."""

    address: str
    version: Version
    diagnosis: Diagnosis
    asked: float
    answered: float


class Visit:
    """Looks, and changes nothing.

    Attributes:
        settings: ``None`` where the configuration is wrong.
    """

    def __init__(self, cli: Invocation) -> None:
        self._cli = cli
        self._answer: Shared[Answer] = Shared(self._ask)
        self.settings: Settings | None = None
        self._problem = ""
        try:
            self.settings = cli.settings
        except CcoError as error:
            self._problem = error.message

    def examine(self) -> tuple[Check, ...]:
        """Return every check, in the order of the catalogue."""
        local = Examiner(SECONDS).examine(self._looks())
        answer = self._answer.peek(0)
        if answer is None:
            return in_order((*local, *self._in_place_of_the_controller(frozenset())))
        told = frozenset(check.name for check in answer.diagnosis.checks)
        others = (*answer.diagnosis.checks, *self._in_place_of_the_controller(told))
        return in_order((*local, *others))

    @property
    def answered(self) -> Answer | None:
        """What the server said, after :meth:`examine`."""
        return self._answer.peek(0)

    def _ask(self) -> Answer:
        with self._cli.client() as client:
            version = client.version()
            asked = time.time()
            diagnosis = client.doctor()
            return Answer(client.base_url, version, diagnosis, asked, time.time())

    def _looks(self) -> Iterator[tuple[str, Look]]:
        yield "configuration", self._configuration
        yield "docker", lambda: examine_docker(self._nobody_answers)
        yield "compose", lambda: examine_plugin("compose", "version", "--short")
        yield "buildx", lambda: examine_plugin("buildx", "version")
        yield "git", examine_git
        yield "terminal", examine_terminal
        settings = self.settings
        if settings is None:
            return
        yield "tmux", lambda: examine_tmux(settings.runtime)
        yield "server", self._server
        yield "versions", self._versions
        yield "clock-difference", self._clock
        if self.is_here(settings):
            yield "state-directory", lambda: examine_state_directory(settings.state_dir)
            yield "leftovers", lambda: examine_leftovers(settings.state_dir)
            yield "token", lambda: examine_token(self.token_path(settings))
        if not self._is_named():
            yield (
                "port",
                lambda: examine_port(settings.host, settings.port, ours=self._server_is_ours()),
            )

    def is_here(self, settings: Settings) -> bool:
        """Tell whether the server is, or would be, on this machine: none was named, or its state is here."""
        return not self._is_named() or settings.state_dir.exists()

    def _is_named(self) -> bool:
        return bool(self._cli.server or os.environ.get("CCO_SERVER"))

    def token_path(self, settings: Settings) -> Path:
        """Return the file with the token this command line sends."""
        return self._cli.token_file or Path(os.environ.get("CCO_TOKEN_FILE") or settings.token_file)

    def _configuration(self) -> Finding:
        if self.settings is None:
            return failed(self._problem, "cco config validate")
        return judge_configuration(config_path())

    def _server(self) -> Finding | None:
        try:
            answer = self._answer.get()
        except ApiError as error:
            return failed(f"the server answered {error.status}: {error.detail}", _SERVER_LOG)
        except (ClientError, Failure, CcoError) as error:
            return failed(str(error), _START)
        seconds = answer.answered - answer.asked
        return well(f"answers at {answer.address}; it took {seconds:.1f} s to look at everything")

    def _versions(self) -> Finding | None:
        answer = self._answered_in_the_end()
        if answer is None:
            return None
        ours, theirs = release().removeprefix("cc-orchestrator "), answer.version.version
        if ours != theirs:
            return notable(
                f"this command line is {ours} and the server {theirs}: what one does not know of the other is ignored; "
                "bring both to the same version",
                _START,
            )
        return well(f"command line and server are {ours}")

    def _clock(self) -> Finding | None:
        answer = self._answered_in_the_end()
        if answer is None:
            return None
        theirs = answer.diagnosis.at.timestamp()
        difference = max(answer.asked - theirs, theirs - answer.answered, 0.0)
        if difference > CLOCK_SECONDS:
            return notable(
                f"the server's clock and this one differ by {difference:.0f} s, so ages look wrong here: let NTP keep "
                "both"
            )
        return well(f"the server's clock and this one agree within {CLOCK_SECONDS:g} s")

    def _answered_in_the_end(self) -> Answer | None:
        try:
            return self._answer.get()
        except (ClientError, Failure, CcoError):
            return None

    def _server_is_ours(self) -> bool:
        """Tell whether an API of ours answered, be it that it does not know our token."""
        try:
            self._answer.get()
        except ApiError as error:
            return error.reason != "NotAnApi"
        except (ClientError, Failure, CcoError):
            return False
        return True

    def _nobody_answers(self) -> bool:
        answer = self._answered_in_the_end()
        if answer is None:
            return True
        return any(check.name == "controller" and check.status is CheckStatus.FAIL for check in answer.diagnosis.checks)

    def _in_place_of_the_controller(self, told: frozenset[str]) -> Iterator[Check]:
        """Look at the files of the state directory, as far as the controller has told nothing of them."""
        settings = self.settings
        if settings is None or not settings.state_dir.is_dir():
            return
        places = [("state directory", settings.state_dir)]
        if settings.worktree_base_path is not None:
            places.append(("worktrees", settings.worktree_base_path))
        looks: tuple[tuple[str, Look], ...] = (
            ("disk", lambda: examine_disk(places, settings.disk_full_percent / 100)),
            ("database", lambda: examine_database(settings.database)),
            ("database-size", lambda: examine_size(settings.database)),
        )
        yield from Examiner().examine((name, look) for name, look in looks if name not in told)
