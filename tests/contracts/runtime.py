"""What every runtime promises, as tests; run against the fake and against every real one.

A test file derives from :class:`RuntimeContract` and gives it a fixture ``world`` that can do to its engine, behind
the runtime's back, what people and accidents do.
"""

from __future__ import annotations

from .runtime_belongings import BelongingsContract
from .runtime_life import LifeContract
from .runtime_ownership import OwnershipContract
from .runtime_repeats import RepeatContract
from .runtime_streams import StreamContract, WatchContract
from .runtime_world import World

__all__ = ["RuntimeContract", "World"]


class RuntimeContract(
    LifeContract, OwnershipContract, BelongingsContract, StreamContract, WatchContract, RepeatContract
):
    """The whole contract."""
