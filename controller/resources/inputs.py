"""Inputs: prompts on their way to a Claude. A wish is a row; the loop delivers it and the agent acknowledges it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from .base import Model, Timestamp

MAX_INPUT_CHARACTERS = 200_000


class InputState(StrEnum):
    """``Pending`` waits for its turn, ``Delivered`` is with the agent, the other two are final."""

    PENDING = "Pending"
    DELIVERED = "Delivered"
    ACCEPTED = "Accepted"
    REJECTED = "Rejected"


class Input(Model):
    """One prompt for one instance; delivered in the order of ``id``."""

    id: str
    instance: str
    uid: str
    text: str = Field(min_length=1, max_length=MAX_INPUT_CHARACTERS)
    state: InputState = InputState.PENDING
    reason: str | None = None
    created_at: Timestamp
    resolved_at: Timestamp | None = None
