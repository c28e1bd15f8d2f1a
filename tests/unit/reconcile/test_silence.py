"""Whoever falls silent is looked at once, and nobody else is."""

from __future__ import annotations

from controller.reconcile.observed import Pace
from controller.reconcile.silence import SilenceWatch
from support.world import World


def test_an_instance_is_woken_once_when_its_agent_becomes_silent(world: World) -> None:
    uid = world.ready().metadata.uid
    woken: list[str] = []
    names = {uid: "web"}
    watch = SilenceWatch(world.agents, Pace(heartbeat=5.0), names.get, woken.append)
    watch.beat()
    assert woken == []
    world.agents.of(uid).age = 20.0
    watch.beat()
    watch.beat()
    assert woken == ["web"]
    world.agents.of(uid).age = 0.0
    watch.beat()
    world.agents.of(uid).age = 20.0
    watch.beat()
    assert woken == ["web", "web"]
    names.clear()
    world.agents.of(uid).age = 0.0
    watch.beat()
    world.agents.of(uid).age = 20.0
    watch.beat()
    assert woken == ["web", "web"], "nobody has that uid any more"
