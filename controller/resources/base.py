"""What all resource models share: unknown fields are errors, values are checked again on assignment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Model(BaseModel):
    """Base of every resource model; immutable, so a change is always a new value (``model_copy``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


def _as_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value.astimezone(UTC)


Timestamp = Annotated[datetime, AfterValidator(_as_utc)]
"""An instant, always timezone-aware and in UTC."""
