"""Whether the parts behind the API answer, as the bar at the top shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from api.client import ApiError, Client, ServerUnavailable
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


def controller_health(client: Client) -> PartHealth | None:
    """Ask the API about the controller; ``None`` when the API itself does not answer (yet)."""
    try:
        part = client.health().controller
    except (ApiError, ServerUnavailable):
        return None
    if part.status == "ok":
        return PartHealth(healthy=True, sentence="The controller answers")
    return PartHealth(healthy=False, sentence=shorten(part.detail) or "The controller does not answer")


def engine_health(instances: Iterable[Instance], controller: PartHealth) -> PartHealth:
    """Conclude from what the controller reports about instances; it alone talks to the engine."""
    if not controller.healthy:
        return PartHealth(sentence="Only the controller knows")
    seen = False
    for instance in instances:
        ready = find_condition(instance.status.conditions, "Ready")
        if ready is None:
            continue
        if ready.status is ConditionStatus.UNKNOWN and ready.reason == ENGINE_DOWN:
            return PartHealth(healthy=False, sentence=shorten(ready.message) or "The engine does not answer")
        seen = True
    if seen:
        return PartHealth(healthy=True, sentence="The engine answers")
    return PartHealth(sentence="Nothing has been run yet")
