"""Events: what happened to an object and why, for people; equal ones are counted, not repeated."""

from __future__ import annotations

from enum import StrEnum

from .base import Model, Timestamp
from .metadata import Kind


class EventType(StrEnum):
    """``Warning`` is something a person may want to look at."""

    NORMAL = "Normal"
    WARNING = "Warning"


class Event(Model):
    """One thing that happened.

    Attributes:
        id: grows with time within one database.
        count: how often the same (object, reason, message) happened in a row.
    """

    id: int
    kind: Kind
    name: str
    uid: str
    type: EventType = EventType.NORMAL
    reason: str
    message: str
    count: int = 1
    first_at: Timestamp
    last_at: Timestamp
    resource_version: int = 0
