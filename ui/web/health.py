"""Whether the parts behind the API answer, as the bar at the top shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from api.client import ApiError, Client, ServerUnavailable
from api.client import PartHealth as ToldHealth
from controller.resources import ConditionStatus, Instance, find_condition

from .view import shorten

# The reason that every pass reports while the engine cannot be asked (controller.runtime.docker).
ENGINE_DOWN = "RuntimeUnavailable"


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part: ``None`` = nothing is known."""

    healthy: bool | None = None
    sentence: str = "Not known yet"


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of the parts a page cannot see for itself."""

    controller: PartHealth = PartHealth()
    engine: PartHealth = PartHealth()


def ask_health(client: Client) -> Health | None:
    """Ask the API; ``None`` when it does not answer (yet). What it cannot tell of the engine is left unknown."""
    try:
        told = client.health()
    except (ApiError, ServerUnavailable):
        return None
    return Health(
        _part("controller", told.controller), PartHealth() if told.engine is None else _part("engine", told.engine)
    )


def _part(name: str, told: ToldHealth) -> PartHealth:
    if told.status == "ok":
        return PartHealth(healthy=True, sentence=f"The {name} answers")
    return PartHealth(healthy=False, sentence=shorten(told.detail) or f"The {name} does not answer")


def engine_health(instances: Iterable[Instance], asked: Health) -> PartHealth:
    """Return what is known of the engine: the controller's own word, and what its looks at instances came to.

    Bad news from either counts, because either may be the newer one.
    """
    if not asked.controller.healthy:
        return PartHealth(sentence="Only the controller knows")
    seen = False
    for instance in instances:
        ready = find_condition(instance.status.conditions, "Ready")
        if ready is None:
            continue
        if ready.status is ConditionStatus.UNKNOWN and ready.reason == ENGINE_DOWN:
            return PartHealth(healthy=False, sentence=shorten(ready.message) or "The engine does not answer")
        seen = True
    if asked.engine.healthy is not None:
        return asked.engine
    if seen:
        return PartHealth(healthy=True, sentence="The engine answers")
    return PartHealth(sentence="Nothing has been run yet")
