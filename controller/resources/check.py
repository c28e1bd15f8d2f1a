"""Checks: what ``cco doctor`` looked at, how it is, and what to do; made where the thing is, read everywhere.

Unlike the other nouns these take unknown fields: a doctor is called when client and server are of two versions, too.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from .base import Timestamp


class CheckStatus(StrEnum):
    """``WARN``: it works, and somebody should know. ``UNKNOWN``: the look itself failed or took too long."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


class CheckGroup(StrEnum):
    """Headings, in the order in which they are shown."""

    MACHINE = "This machine"
    SYSTEM = "Server and controller"
    ENGINE = "Engine"
    STORAGE = "Storage and capacity"
    FLEET = "Fleet"


class Fixer(StrEnum):
    """Who can mend it with ``cco doctor --fix``."""

    CLIENT = "client"
    CONTROLLER = "controller"


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Check(_Told):
    """One thing that was looked at.

    Attributes:
        name: stable, one of :data:`CATALOGUE` where both sides are of this version.
        message: one sentence with the value that was found and, unless it is well, the way out.
        fix: a command that helps, for a person to run.
        fixable_by: who mends it when ``--fix`` asks; ``None`` = a person.
    """

    name: str
    group: str
    status: CheckStatus
    message: str
    fix: str | None = None
    fixable_by: Fixer | None = None


class Diagnosis(_Told):
    """Everything that was looked at.

    Attributes:
        version: of the program that looked.
        at: when, by the clock of the machine that looked.
    """

    version: str
    at: Timestamp
    checks: tuple[Check, ...] = ()


class Repair(_Told):
    """What ``--fix`` did, or could not do."""

    check: str
    done: bool
    message: str


class Repairs(_Told):
    """What ``--fix`` did, in order; empty where nothing was to be done."""

    repairs: tuple[Repair, ...] = ()


class RecentLogs(_Told):
    """The newest lines of the two programs, oldest first; ``None`` where a program does not answer."""

    server: str | None = None
    controller: str | None = None


class CheckKind(NamedTuple):
    """What a name stands for."""

    name: str
    group: CheckGroup


CATALOGUE: Final[tuple[CheckKind, ...]] = (
    CheckKind("configuration", CheckGroup.MACHINE),
    CheckKind("state-directory", CheckGroup.MACHINE),
    CheckKind("token", CheckGroup.MACHINE),
    CheckKind("leftovers", CheckGroup.MACHINE),
    CheckKind("docker", CheckGroup.MACHINE),
    CheckKind("compose", CheckGroup.MACHINE),
    CheckKind("buildx", CheckGroup.MACHINE),
    CheckKind("git", CheckGroup.MACHINE),
    CheckKind("tmux", CheckGroup.MACHINE),
    CheckKind("terminal", CheckGroup.MACHINE),
    CheckKind("port", CheckGroup.MACHINE),
    CheckKind("server", CheckGroup.SYSTEM),
    CheckKind("versions", CheckGroup.SYSTEM),
    CheckKind("controller", CheckGroup.SYSTEM),
    CheckKind("clock", CheckGroup.SYSTEM),
    CheckKind("clock-difference", CheckGroup.SYSTEM),
    CheckKind("engine", CheckGroup.ENGINE),
    CheckKind("engine-limits", CheckGroup.ENGINE),
    CheckKind("engine-security", CheckGroup.ENGINE),
    CheckKind("live-restore", CheckGroup.ENGINE),
    CheckKind("image", CheckGroup.ENGINE),
    CheckKind("network", CheckGroup.ENGINE),
    CheckKind("process", CheckGroup.ENGINE),
    CheckKind("disk", CheckGroup.STORAGE),
    CheckKind("database", CheckGroup.STORAGE),
    CheckKind("database-size", CheckGroup.STORAGE),
    CheckKind("memory", CheckGroup.STORAGE),
    CheckKind("cpus", CheckGroup.STORAGE),
    CheckKind("credentials", CheckGroup.FLEET),
    CheckKind("repositories", CheckGroup.FLEET),
    CheckKind("instances", CheckGroup.FLEET),
    CheckKind("agents", CheckGroup.FLEET),
    CheckKind("events", CheckGroup.FLEET),
    CheckKind("orphans", CheckGroup.FLEET),
)
"""Every check there is, in the order in which they are shown; ``docs/doctor.md`` explains each."""

GROUP_OF: Final = {kind.name: kind.group for kind in CATALOGUE}
_ORDER: Final = {kind.name: place for place, kind in enumerate(CATALOGUE)}


def in_order(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """Return the checks as they are shown; names of another version come last."""
    return tuple(sorted(checks, key=lambda check: _ORDER.get(check.name, len(_ORDER))))
