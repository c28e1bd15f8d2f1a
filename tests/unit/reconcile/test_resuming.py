"""An instance that is resumed and ends at once: it is told and paced like any other, and not resumed for ever."""

from __future__ import annotations

import pytest

from controller.resources import OperatingMode
from support.world import World


@pytest.mark.parametrize(
    ("policy", "code", "reason"),
    [("Never", 1, "ExitedWithError"), ("OnFailure", 0, "Completed"), ("Always", 1, "BackingOff")],
)
@pytest.mark.parametrize("was_up", [True, False], ids=["that was up before", "that never ran"])
def test_a_session_that_ends_as_soon_as_it_is_resumed(
    world: World, policy: str, code: int, reason: str, *, was_up: bool
) -> None:
    world.register()
    mode = OperatingMode.RUNNING if was_up else OperatingMode.SUSPENDED
    world.declare(restart_policy=policy, operating_mode=mode)
    world.settle()
    world.change(operating_mode=OperatingMode.SUSPENDED)
    world.settle()
    world.engine.crash_on_start("web", code)
    world.change(operating_mode=OperatingMode.RUNNING)
    world.settle()
    assert world.condition("Ready").reason == reason
    assert world.condition("Suspended").reason == "Running"
